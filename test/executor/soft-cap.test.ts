import { describe, expect, it } from 'vitest'
import { loadModel } from '../../src/api/index.js'
import { GraphBuilder } from '../../src/graph/build.js'
import { serializeGraph } from '../../src/graph/parse.js'
import { temporary } from '../sources/files.js'
import { worstDifference } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'
import { assetOf } from './graph-asset.js'

const [HEADS, KV_HEADS, WIDTH, ROWS] = [4, 2, 8, 6]
const SCALE = 0.9

/** A graph of one attention that caps its scores at `cap`, masked. */
function capped(cap: number): Uint8Array {
  const graph = new GraphBuilder('capped', new Map())
  const root = graph.module('')
  const [q, k, v] = [
    graph.input('q', 'F32', [1, 'rows', HEADS * WIDTH]),
    ...['k', 'v'].map((name) => graph.input(name, 'F32', [1, 'rows', KV_HEADS * WIDTH])),
  ] as const
  const mask = graph.input('mask', 'BOOL', [1, 1, 'rows', 'rows'])
  const sizes = { q_num_heads: BigInt(HEADS), kv_num_heads: BigInt(KV_HEADS), scale: SCALE }
  graph.output(root.op('Attention', [q!, k!, v!, mask], { ...sizes, softcap: cap }, { name: 'y' }))
  return serializeGraph(graph.finish())
}

const numbers = (count: number, seed: number) => Float32Array.from({ length: count }, (_, at) => 3 * Math.sin(seed + at * at))
const [Q, K, V] = [numbers(ROWS * HEADS * WIDTH, 1), numbers(ROWS * KV_HEADS * WIDTH, 2), numbers(ROWS * KV_HEADS * WIDTH, 3)]
// not causal, and every row sees something
const sees = (row: number, position: number) => row === position || (row * 7 + position * 3) % 4 === 0

function oracle(cap: number): number[] {
  const y: number[] = []
  for (let row = 0; row < ROWS; row++)
    for (let head = 0; head < HEADS; head++) {
      const kvHead = Math.floor(head / (HEADS / KV_HEADS))
      const weights = Array.from({ length: ROWS }, (_, position) => {
        let score = 0
        for (let i = 0; i < WIDTH; i++) score += Q[(row * HEADS + head) * WIDTH + i]! * K[(position * KV_HEADS + kvHead) * WIDTH + i]!
        return sees(row, position) ? Math.exp(cap * Math.tanh((score * SCALE) / cap)) : 0
      })
      const total = weights.reduce((a, b) => a + b)
      for (let i = 0; i < WIDTH; i++)
        y.push(weights.reduce((sum, weight, at) => sum + (weight / total) * V[(at * KV_HEADS + kvHead) * WIDTH + i]!, 0))
    }
  return y
}

describe.each(ENGINES)('attention with a soft cap in %s', (engine) => {
  it.each([0.75, 2.5, 30])('of %s follows the formula, masked after it was capped', async (cap) => {
    await using folder = await temporary()
    await using model = await loadModel(await assetOf(folder.path, capped(cap), {}), { engine: choiceOf(engine) })
    const { y } = await model.run({
      q: { type: 'float32', data: Q, dims: [1, ROWS, HEADS * WIDTH] },
      k: { type: 'float32', data: K, dims: [1, ROWS, KV_HEADS * WIDTH] },
      v: { type: 'float32', data: V, dims: [1, ROWS, KV_HEADS * WIDTH] },
      mask: {
        type: 'bool',
        data: Uint8Array.from({ length: ROWS * ROWS }, (_, at) => Number(sees(Math.floor(at / ROWS), at % ROWS))),
        dims: [1, 1, ROWS, ROWS],
      },
    })
    expect(worstDifference(y!.data as Float32Array, oracle(cap))).toBeLessThan(1e-5)
    expect(worstDifference(oracle(cap), oracle(1e6))).toBeGreaterThan(1e-3)
  })
})
