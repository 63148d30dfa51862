/** A prompt of so many ids, the same for all. */
export function promptOf(length: number): number[] {
  return Array.from({ length }, (_, at) => 1000 + ((at * 7919) % 100_000))
}
