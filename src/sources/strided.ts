/**
 * How the bytes of a tensor lie where they are no single range of a file: runs of `unit` bytes, `counts[i]` of them
 * `steps[i]` bytes apart in dimension i, the last one the fastest. A step of 0 gives the same bytes again. Where there are
 * `starts`, all of that is there once from each of them on, one after the other.
 */
export interface Strided {
  readonly unit: number
  readonly counts: readonly number[]
  readonly steps: readonly number[]
  readonly starts?: readonly number[]
}

/** A dimension of a window: how many, how far apart in the file, and how far apart in the result, in bytes. */
interface Dimension {
  readonly count: number
  readonly step: number
  readonly to: number
}

/**
 * One read: `length` bytes of the file from `position` on, of which runs of `unit` bytes go to byte `to` of what is
 * asked for and on. Without dimensions it is a single run.
 */
export interface Window {
  readonly position: number
  readonly length: number
  readonly unit: number
  readonly dimensions: readonly Dimension[]
  readonly to: number
}

/** The largest window that is more than a single run. */
export const LARGEST_WINDOW = 1024 * 1024
/** Bytes between two runs that are read along: another read would take longer. */
const GAP = 4096

/**
 * The layout of a view with these strides (in elements, as torch has them) of elements of `size` bytes, as simple as can
 * be; undefined where its bytes are a single range.
 */
export function stridedOf(shape: readonly number[], strides: readonly number[], size: number): Strided | undefined {
  if (shape.includes(0)) return undefined
  const dimensions: { count: number; step: number }[] = []
  for (const [i, count] of shape.entries()) {
    const step = strides[i]! * size
    const outer = dimensions.at(-1)
    if (count === 1) continue
    if (outer && outer.step === count * step) dimensions.splice(-1, 1, { count: outer.count * count, step })
    else dimensions.push({ count, step })
  }
  const unit = dimensions.at(-1)?.step === size ? dimensions.pop()!.count * size : size
  if (dimensions.length === 0) return undefined
  return { unit, counts: dimensions.map(({ count }) => count), steps: dimensions.map(({ step }) => step) }
}

/**
 * The reads that give bytes `from` to `from + length` of a tensor that is at `offset` of its file, as plain data. What is
 * near each other in the file is read together, in windows of 1 MiB at most.
 */
export function* windowsOf(offset: number, strided: Strided | undefined, from: number, length: number): Generator<Window> {
  if (strided?.starts) return yield* eachStart(offset, strided, strided.starts, from, length)
  if (!strided) return yield { position: offset + from, length, unit: length, dimensions: [], to: 0 }
  const { counts, steps, unit } = strided
  const bytes = [unit]
  for (const count of counts.toReversed()) bytes.unshift(count * bytes[0]!)
  const cut = function* (depth: number, position: number, begin: number, end: number, to: number): Generator<Window> {
    if (depth === counts.length) return yield { position: position + begin, length: end - begin, unit: end - begin, dimensions: [], to }
    const [inner, step] = [bytes[depth + 1]!, steps[depth]!]
    const [first, last] = [Math.ceil(begin / inner), Math.floor(end / inner)]
    const part = (row: number) =>
      cut(
        depth + 1,
        position + row * step,
        Math.max(begin - row * inner, 0),
        Math.min(end - row * inner, inner),
        to + Math.max(row * inner - begin, 0),
      )
    if (first > last) return yield* part(last)
    if (begin < first * inner) yield* part(first - 1)
    const dimensions = [{ count: last - first, step, to: inner }]
    for (let i = depth + 1; i < counts.length; i++) dimensions.push({ count: counts[i]!, step: steps[i]!, to: bytes[i + 1]! })
    if (last > first) yield* grouped(unit, dimensions, position + first * step, to + first * inner - begin)
    if (end > last * inner) yield* part(last)
  }
  yield* cut(0, offset, from, from + length, 0)
}

/** The bytes of the dense tensor. */
export function stridedBytes({ unit, counts, starts }: Strided): number {
  return counts.reduce((product, count) => product * count, unit) * (starts?.length ?? 1)
}

function* eachStart(offset: number, { unit, counts, steps }: Strided, starts: readonly number[], from: number, length: number) {
  const once = { unit, counts, steps }
  const [size, inner] = [stridedBytes(once), counts.length > 0 ? once : undefined]
  for (let at = Math.floor(from / size); at * size < from + length; at++) {
    const [begin, end] = [Math.max(from - at * size, 0), Math.min(from + length - at * size, size)]
    for (const window of windowsOf(offset + starts[at]!, inner, begin, end - begin))
      yield { ...window, to: window.to + at * size + begin - from }
  }
}

/** Windows over whole runs: the dimensions that are closest together in the file first, as far as one read should go. */
function* grouped(unit: number, dimensions: readonly Dimension[], position: number, to: number): Generator<Window> {
  const ordered = dimensions.filter(({ count }) => count > 1).sort((a, b) => a.step - b.step)
  const within: Dimension[] = []
  let length = unit
  for (const dimension of ordered) {
    const { count, step } = dimension
    const most = step === 0 ? count : Math.floor((LARGEST_WINDOW - length) / step) + 1
    if (length > LARGEST_WINDOW || most < 2 || step - length > GAP) break
    if (most < count) {
      const others = ordered.filter((other) => other !== dimension)
      for (let at = 0; at < count; at += most)
        yield* grouped(unit, [...others, { ...dimension, count: Math.min(most, count - at) }], position + at * step, to + at * dimension.to)
      return
    }
    within.push(dimension)
    length += (count - 1) * step
  }
  const apart = ordered.slice(within.length)
  const each = function* (depth: number, position: number, to: number): Generator<Window> {
    if (depth < 0) return yield { position, length, unit, dimensions: within, to }
    const { count, step, to: next } = apart[depth]!
    for (let i = 0; i < count; i++) yield* each(depth - 1, position + i * step, to + i * next)
  }
  yield* each(apart.length - 1, position, to)
}

/**
 * Where `length` bytes of a tensor from its byte `from` on lie, as a tensor of their own; they are whole rows of it, of
 * whatever dimension.
 */
export function stridedPart(
  offset: number,
  strided: Strided | undefined,
  from: number,
  length: number,
): { readonly offset: number; readonly strided?: Strided } {
  const { counts, steps, unit } = strided ?? { counts: [], steps: [], unit: length }
  const sizes = counts.map((_, at) => counts.slice(at + 1).reduce((product, count) => product * count, unit))
  let [position, begin] = [offset, from]
  for (const [at, size] of sizes.entries()) {
    const row = Math.floor(begin / size)
    position += row * steps[at]!
    begin -= row * size
    if (begin + length > size)
      return { offset: position, strided: { unit, counts: [length / size, ...counts.slice(at + 1)], steps: steps.slice(at) } }
  }
  return { offset: position + begin }
}

/** Puts the runs of a window that was read into `bytes` where they belong in `target`. */
export function scatter({ unit, dimensions, to }: Window, bytes: Uint8Array, target: Uint8Array): void {
  const place = (depth: number, from: number, at: number): void => {
    if (depth < 0) {
      target.set(bytes.subarray(from, from + unit), at)
      return
    }
    const { count, step, to: next } = dimensions[depth]!
    for (let i = 0; i < count; i++) {
      if (depth > 0 || unit > 8) place(depth - 1, from + i * step, at + i * next)
      else for (let byte = 0; byte < unit; byte++) target[at + i * next + byte] = bytes[from + i * step + byte]!
    }
  }
  place(dimensions.length - 1, 0, to)
}
