import { AssetError } from '../core/errors.js'

/** How the next token is chosen. A temperature of 0 takes the likeliest; `seed` makes the draws repeat. */
export interface SamplingOptions {
  readonly temperature?: number | undefined
  readonly topK?: number | undefined
  readonly topP?: number | undefined
  readonly seed?: number | undefined
}

/** Chooses a token id from one row of logits (vocabulary). */
export type Sampler = (logits: Float32Array) => number

/** @throws AssetError 'BAD_INPUT' for a parameter out of its range */
export function makeSampler({ temperature = 0, topK, topP = 1, seed }: SamplingOptions): Sampler {
  check('temperature', temperature, temperature >= 0 && temperature <= 100, 'a number from 0 to 100')
  check('topK', topK ?? 1, topK === undefined || (Number.isInteger(topK) && topK >= 1), 'a whole number from 1')
  check('topP', topP, topP > 0 && topP <= 1, 'a number above 0, at most 1')
  check('seed', seed ?? 0, seed === undefined || Number.isSafeInteger(seed), 'a whole number')
  if (temperature === 0) return argmax
  const random = randomFrom(seed ?? Math.floor(Math.random() * 2 ** 32))
  return (logits) => draw(logits, temperature, topK ?? logits.length, topP, random())
}

function check(name: string, value: number, good: boolean, wanted: string): void {
  if (!good) throw new AssetError('BAD_INPUT', `Cannot generate: ${name} is ${value}; give ${wanted}`)
}

function argmax(logits: Float32Array): number {
  let best = 0
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]! || Number.isNaN(logits[best]!)) best = id
  if (Number.isNaN(logits[best]!)) throw notNumbers()
  return best
}

/** One draw from the softmax of the `topK` likeliest, cut to the smallest set that holds `topP` of the probability. */
function draw(logits: Float32Array, temperature: number, topK: number, topP: number, random: number): number {
  const top = logits[argmax(logits)]!
  // exp(-30) of the likeliest is below what a float32 sum can see: such ids need no sorting.
  const ids: number[] = []
  for (let id = 0; id < logits.length; id++) if ((logits[id]! - top) / temperature > -30) ids.push(id)
  ids.sort((a, b) => logits[b]! - logits[a]! || a - b)
  const kept = ids.slice(0, topK)
  const weights = kept.map((id) => Math.exp((logits[id]! - top) / temperature))
  const limit = topP * weights.reduce((sum, weight) => sum + weight, 0)
  let nucleus = 0
  let mass = 0
  while (nucleus < kept.length && mass < limit) mass += weights[nucleus++]!
  let left = random * mass
  for (let at = 0; at < nucleus; at++) {
    left -= weights[at]!
    if (left < 0) return kept[at]!
  }
  return kept[Math.max(0, nucleus - 1)]!
}

/** Uniform numbers from 0 to 1, the same for the same seed everywhere (splitmix32). */
function randomFrom(seed: number): () => number {
  let state = (seed ^ Math.floor(seed / 2 ** 32)) | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}

function notNumbers(): AssetError {
  return new AssetError('CORRUPT', 'Cannot choose a token: the logits are not numbers; the weights may be damaged ("masset verify")')
}
