/** A weight as a segment uses it. */
interface Use {
  readonly name: string
  readonly length: number
}

/**
 * Bytes that streamed weights need in memory at once, while weights start and stop to be streamed: those of one segment
 * and of the next that streams, around the end of the pass too. A tree over the segments, so that a change costs the
 * logarithm of their number.
 */
export class Window {
  private readonly places = new Map<string, { at: number; length: number }[]>()
  private readonly leaves: number
  // By node of the tree, the root at 1: what the first and the last segment that streams needs, and the most that one needs with the next.
  private readonly first: Float64Array
  private readonly last: Float64Array
  private readonly most: Float64Array
  private streaming = 0

  /** Nothing streams at first. */
  constructor(segments: readonly (readonly Use[])[]) {
    this.leaves = 2 ** Math.ceil(Math.log2(Math.max(1, segments.length)))
    this.first = new Float64Array(2 * this.leaves)
    this.last = new Float64Array(2 * this.leaves)
    this.most = new Float64Array(2 * this.leaves)
    for (const [at, uses] of segments.entries()) {
      for (const { name, length } of uses) {
        const places = this.places.get(name)
        if (places) places.push({ at, length })
        else this.places.set(name, [{ at, length }])
      }
    }
  }

  /** Lets a weight stream from now on, or no longer; call it only where that changes. */
  set(name: string, streams: boolean): void {
    for (const { at, length } of this.places.get(name) ?? []) this.add(this.leaves + at, streams ? length : -length)
  }

  get bytes(): number {
    const [first, last, most] = [this.first[1]!, this.last[1]!, this.most[1]!]
    // The only segment that streams has no other after it.
    return this.streaming === 1 ? most : Math.max(most, last + first)
  }

  private add(leaf: number, bytes: number): void {
    const { first, last, most } = this
    const before = first[leaf]!
    const need = before + bytes
    this.streaming += Number(need > 0) - Number(before > 0)
    first[leaf] = last[leaf] = most[leaf] = need
    for (let node = leaf >> 1; node > 0; node >>= 1) {
      const [left, right] = [2 * node, 2 * node + 1]
      first[node] = first[left]! || first[right]!
      last[node] = last[right]! || last[left]!
      most[node] = Math.max(most[left]!, most[right]!, last[left]! + first[right]!)
    }
  }
}
