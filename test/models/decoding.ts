import { type InferenceSession, Tensor } from 'onnxruntime-common'
import type { Feeds, Opened } from './checkpoint.js'

/** A 64-bit integer tensor (rows, columns). */
export function ids(rows: readonly (readonly number[])[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length])
}

function emptyCache({ session, layers }: Opened, batch: number): Feeds {
  const cache: Feeds = {}
  for (let n = 0; n < layers; n++) {
    for (const part of ['key', 'value']) {
      const name = `past_key_values.${n}.${part}`
      const meta = session.inputMetadata.find((input) => input.name === name)
      const shape = meta?.isTensor ? meta.shape : []
      cache[name] = new Tensor('float32', new Float32Array(0), [batch, Number(shape[1]), 0, Number(shape[3])])
    }
  }
  return cache
}

/** A batch of sequences that grows; keeps the cache between calls. */
export class Decoding {
  private cache: Feeds
  private seen = 0

  constructor(
    private readonly opened: Opened,
    private readonly mask: readonly number[][],
    private readonly positions: readonly number[][],
  ) {
    this.cache = emptyCache(opened, mask.length)
  }

  /** Logits of these tokens (batch, sequence, vocab), the next ones of every row. */
  async feed(tokens: readonly (readonly number[])[]): Promise<number[][][]> {
    const [from, to] = [this.seen, this.seen + tokens[0]!.length]
    this.seen = to
    const outputs = await this.opened.session.run({
      ...this.cache,
      input_ids: ids(tokens),
      attention_mask: ids(this.mask.map((row) => row.slice(0, to))),
      position_ids: ids(this.positions.map((row) => row.slice(from, to))),
    })
    this.cache = Object.fromEntries(Object.keys(this.cache).map((name) => [name, outputs[name.replace('past_key_values', 'present')]!]))
    return unfold(outputs, 'logits')
  }
}

/** A decoding without padding, of sequences up to 512 tokens. */
export function unpadded(opened: Opened, batch: number): Decoding {
  const rows = (value: (n: number) => number) => Array.from({ length: batch }, () => Array.from({ length: 512 }, (_, n) => value(n)))
  return new Decoding(
    opened,
    rows(() => 1),
    rows((n) => n),
  )
}

/** Logits of whole sequences fed in pieces of `size` tokens. */
export async function inPieces(decoding: Decoding, tokens: readonly (readonly number[])[], size: number): Promise<number[][][]> {
  const logits: number[][][] = tokens.map(() => [])
  for (let from = 0; from < tokens[0]!.length; from += size) {
    const piece = await decoding.feed(tokens.map((row) => row.slice(from, from + size)))
    for (const [row, steps] of piece.entries()) logits[row]!.push(...steps)
  }
  return logits
}

/** Greedy tokens after a prompt, one at a time. */
export async function greedy(opened: Opened, prompt: readonly number[], count: number): Promise<number[]> {
  const decoding = unpadded(opened, 1)
  const tokens: number[] = []
  let next: readonly number[] = prompt
  while (tokens.length < count) {
    const last = (await decoding.feed([next]))[0]!.at(-1)!
    next = [last.indexOf(Math.max(...last))]
    tokens.push(next[0]!)
  }
  return tokens
}

/** An output of three dimensions as nested lists. */
export function unfold(outputs: InferenceSession.OnnxValueMapType, name: string): number[][][] {
  const { data, dims } = outputs[name] as Tensor
  const [batch, rows, width] = dims as [number, number, number]
  const row = (n: number) => Array.from(data.slice(n * width, (n + 1) * width) as Float32Array)
  return Array.from({ length: batch }, (_, b) => Array.from({ length: rows }, (_, r) => row(b * rows + r)))
}

/** The largest distance between numbers of two nested lists of the same shape; NaN counts as infinitely far. */
export function distance(a: unknown, b: unknown): number {
  if (!Array.isArray(a) || !Array.isArray(b))
    return Number.isNaN(Number(a) - Number(b)) ? Number.POSITIVE_INFINITY : Math.abs(Number(a) - Number(b))
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  return a.reduce((far: number, item, n) => Math.max(far, distance(item, b[n])), 0)
}
