import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LoadOptions, loadModel, type Model, type PlainTensor, plan } from '../../src/api/index.js'
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from '../../src/graph/generated/onnx_pb.js'
import { serializeGraph } from '../../src/graph/parse.js'
import { external, integers, modelOf, node, value } from '../graph/onnx.js'
import { worstDifference } from './assets.js'
import { ENGINES } from './engines.js'
import { assetOf } from './graph-asset.js'

const { FLOAT, INT64 } = DataType
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const WIDTH = 96
const both = ENGINES.includes('mixed')

/** Small numbers that make sums of about one. */
function numbers(count: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, at) => ((((at + seed) * 7919) % 2003) - 1001) / 1001 / Math.sqrt(WIDTH))
}

/** Matrices (96, 96) w0 to w7, a bias and a norm's weight, each in a file of its own. */
const WEIGHTS = ['w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7', 'bias', 'norm']
const sizeOf = (name: string) => (name.startsWith('w') ? [WIDTH, WIDTH] : [WIDTH])
const CONTENTS = Object.fromEntries(
  WEIGHTS.map((name, at) => [
    `${name}.bin`,
    new Uint8Array(
      numbers(
        sizeOf(name).reduce((a, b) => a * b),
        100 * at,
      ).buffer,
    ),
  ]),
)

/** x (n, 96) and d (n), through nodes whose values are all of floats, to outputs. */
function graphOf(
  nodes: NodeProto[],
  outputs: string[],
  more: { declared?: ReturnType<typeof value>[]; constants?: TensorProto[] } = {},
): Uint8Array {
  const declared = new Set((more.declared ?? []).map(({ name }) => name))
  const made = nodes.flatMap(({ output }) => output).filter((name) => !declared.has(name))
  return serializeGraph(
    modelOf({
      input: [value('x', FLOAT, ['n', WIDTH]), value('d', INT64, ['n'])],
      initializer: [...WEIGHTS.map((name) => external(name, FLOAT, sizeOf(name), `${name}.bin`)), ...(more.constants ?? [])],
      node: nodes,
      valueInfo: [...made.filter((name) => !outputs.includes(name)).map((name) => value(name, FLOAT)), ...(more.declared ?? [])],
      output: outputs.map((name) => value(name, FLOAT)),
    }),
  )
}

const feeds = (rows: number, seed = 1): Record<string, PlainTensor> => ({
  x: { type: 'float32', data: numbers(rows * WIDTH, seed).map((x) => x * 8), dims: [rows, WIDTH] },
  d: { type: 'int64', data: new BigInt64Array(rows).fill(2n), dims: [rows] },
})

type Bits = Record<string, Float32Array>
async function outputsOf(folder: string, options: LoadOptions, rows: number, passes = 2): Promise<Bits> {
  await using model = await loadModel(folder, options)
  let outputs: Bits = {}
  for (let pass = 0; pass < passes; pass++) {
    const found = await model.run(feeds(rows))
    outputs = Object.fromEntries(Object.entries(found).map(([name, { data }]) => [name, (data as Float32Array).slice()]))
  }
  const stats = await model.stats()
  if (options.memory !== undefined) expect(stats.peakResidentBytes).toBeLessThanOrEqual(options.memory as number)
  return outputs
}

describe.runIf(both)('models of both engines', () => {
  let folder: string
  let made = 0
  const asset = (graph: Uint8Array) => assetOf(join(folder, String(made++)), graph, CONTENTS)
  // Stays open, so that the worker does: starting one takes longer than these models do.
  let first: Model
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'masset-test-'))
    first = await loadModel(await asset(graphOf(chain, ['y'])))
  })
  afterAll(async () => {
    await first.close()
    await rm(folder, { recursive: true, force: true })
  })

  // Weights on both sides, each change of engines, and one weight that both use.
  const mm = (from: string, weight: string, to: string) => node('MatMul', [from, weight], [to])
  const chain = [
    mm('x', 'w0', 'a0'),
    node('LogSoftmax', ['a0'], ['a1']),
    node('Gemm', ['a1', 'w1'], ['a2']),
    mm('a2', 'w1', 'a3'),
    node('Add', ['a3', 'bias'], ['a4']),
    node('Elu', ['a4'], ['a5']),
    node('Transpose', ['w2'], ['t2'], { perm: [1, 0] }),
    mm('a5', 't2', 'a6'),
    mm('a6', 'w3', 'a7'),
    node('LogSoftmax', ['a7'], ['a8']),
    mm('a8', 'w4', 'y'),
  ]

  it('say what runs where, and count the weights of each to the byte', async () => {
    const found = await plan(join(folder, '0'))
    const square = 4 * WIDTH * WIDTH
    expect(found.engine).toBe('mixed')
    expect(found.segments).toEqual([
      { engine: 'native', nodes: 1, weightBytes: square },
      { engine: 'onnx', nodes: 2, weightBytes: square, why: 'LogSoftmax (node "") is not known to it' },
      { engine: 'native', nodes: 2, weightBytes: square + 4 * WIDTH },
      { engine: 'onnx', nodes: 1, weightBytes: 0, why: 'Elu (node "") is not known to it' },
      { engine: 'native', nodes: 3, weightBytes: 2 * square },
      { engine: 'onnx', nodes: 1, weightBytes: 0, why: 'LogSoftmax (node "") is not known to it' },
      { engine: 'native', nodes: 1, weightBytes: square },
    ])
    expect(found.weightBytes).toBe(6 * square + 4 * WIDTH)
    expect(found.minimum).toBe(square + 4 * WIDTH + 3 * 2 * 4096)
    const { stdout } = await promisify(execFile)(process.execPath, [CLI, 'plan', join(folder, '0')])
    expect(stdout).toMatch(/^engine +mixed, 7 segments: 4 native, 3 onnx$/m)
    expect(stdout).toMatch(/^ {2}native {2}3 nodes {2}72\.0 KiB$/m)
    expect(stdout).toMatch(/^ {2}onnx {4}1 node {3}0 B +not native: Elu \(node ""\) is not known to it$/m)
    const asked = await promisify(execFile)(process.execPath, [CLI, 'plan', join(folder, '0'), '--engine', 'onnx'])
    expect(asked.stdout).toMatch(/^engine +onnx \(not native: ONNX Runtime was asked for\)$/m)
    await expect(loadModel(join(folder, '0'), { engine: 'native' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: 'Cannot run the graph natively: LogSoftmax (node "") is not known to it',
    })
    for (const engine of ['onnx', 'auto'] as const) {
      await using model = await loadModel(join(folder, '0'), { engine })
      expect((await model.stats()).engine).toBe(engine === 'auto' ? 'mixed' : 'onnx')
    }
  })

  it('give what ONNX Runtime gives, and the same bits in any budget from the minimum up, below which they refuse', async () => {
    const path = await asset(graphOf(chain, ['y', 'a4']))
    const { minimum, weightBytes } = await plan(path)
    for (const rows of [1, 5, 40]) {
      const wanted = await outputsOf(path, { engine: 'onnx' }, rows)
      const whole = await outputsOf(path, { memory: weightBytes }, rows)
      for (const name of ['y', 'a4']) expect(worstDifference(whole[name]!, wanted[name]!)).toBeLessThan(1e-5)
      for (const share of [0, 0.2, 0.5, 0.8]) {
        const memory = Math.floor(minimum + share * (weightBytes - minimum))
        expect(await outputsOf(path, { memory }, rows, 3)).toEqual(whole)
      }
    }
    await expect(loadModel(path, { memory: minimum - 1 })).rejects.toMatchObject({
      code: 'BUDGET_TOO_SMALL',
      message: expect.stringContaining(`give at least ${minimum} bytes`),
    })
  })

  it('read what streams once a pass, over both engines', async () => {
    const path = await asset(graphOf(chain, ['y']))
    const { minimum, weightBytes } = await plan(path)
    await using model = await loadModel(path, { memory: minimum })
    const counts: number[] = []
    for (let pass = 0; pass < 4; pass++) {
      await model.run(feeds(2))
      counts.push((await model.stats()).bytesRead)
    }
    const { pinnedBytes, streamedBytesPerPass, passes } = await model.stats()
    expect([passes, pinnedBytes + streamedBytesPerPass]).toEqual([4, weightBytes])
    // The weight of the only segment in ONNX Runtime that has one is held.
    expect(counts.slice(1).map((count, at) => count - counts[at]!)).toEqual(Array(3).fill(streamedBytesPerPass))
  })

  it('agree with ONNX Runtime whatever the graph, and with themselves whatever the budget', async () => {
    const OPS = [
      'MatMul',
      'MatMul',
      'MatMul',
      'Add',
      'Mul',
      'Relu',
      'Sigmoid',
      'Tanh',
      'RMSNormalization',
      'Erf',
      'LogSoftmax',
      'Elu',
      'Abs',
      'Identity',
    ]
    const step = fc.record({ op: fc.constantFrom(...OPS), a: fc.nat(), b: fc.nat() })
    const seen = { native: 0, onnx: 0, mixed: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), fc.constantFrom(1, 3, 20), async (steps, rows) => {
        const names = ['x']
        const nodes: NodeProto[] = []
        // Later values more often than earlier ones, so that graphs are deep.
        const pick = (n: number) => names[Math.max(0, names.length - 1 - (n % 3))]!
        for (const [at, { op, a, b }] of steps.entries()) {
          const [one, two, weight, output] = [pick(a), pick(b), `w${b % 8}`, `n${at}`]
          if (op === 'MatMul' && b % 3 === 0) {
            nodes.push(node('Transpose', [weight], [`t${at}`], { perm: [1, 0] }), node(op, [one, `t${at}`], [output]))
          } else if (op === 'MatMul') nodes.push(node(op, [one, weight], [output]))
          else if (op === 'Add' || op === 'Mul') nodes.push(node(op, [one, b % 4 === 0 ? 'bias' : two], [output]))
          else if (op === 'RMSNormalization') nodes.push(node(op, [one, 'norm'], [output]))
          else nodes.push(node(op, [one], [output]))
          // Sums and products grow, and errors with them.
          if (op === 'MatMul' || op === 'Add' || op === 'Mul') nodes.push(node('Tanh', [output], [`${output} bound`]))
          names.push(op === 'MatMul' || op === 'Add' || op === 'Mul' ? `${output} bound` : output)
        }
        const ends = [...new Set([names.at(-1)!, names[Math.floor(names.length / 2)]!])].filter((name) => name !== 'x')
        const path = await asset(graphOf(nodes, ends))
        const { engine, minimum, weightBytes } = await plan(path)
        seen[engine] += 1
        const wanted = await outputsOf(path, { engine: 'onnx' }, rows)
        const whole = await outputsOf(path, { memory: Math.max(1, weightBytes) }, rows)
        for (const name of ends) expect(worstDifference(whole[name]!, wanted[name]!)).toBeLessThan(1e-5)
        for (const memory of [minimum, Math.floor((minimum + weightBytes) / 2)])
          expect(await outputsOf(path, { memory: Math.max(1, memory) }, rows)).toEqual(whole)
        await rm(path, { recursive: true })
      }),
      { numRuns: 60 },
    )
    expect(seen.mixed).toBeGreaterThan(20)
  })

  it('go on after a pass that failed between two segments, and after weights were damaged and mended', async () => {
    // What a run of integers divides by zero fails in ONNX Runtime, after the first segment has streamed.
    const nodes = [
      mm('x', 'w0', 'a'),
      node('Div', ['two', 'd'], ['q']),
      node('Cast', ['q'], ['f'], { to: FLOAT }),
      node('Unsqueeze', ['f', 'last'], ['g']),
      node('Erf', ['g'], ['h']),
      node('Erf', ['a'], ['b']),
      node('Add', ['b', 'h'], ['c']),
      node('Gemm', ['c', 'w5'], ['m']),
      mm('m', 'w1', 'e'),
      node('LogSoftmax', ['e'], ['s']),
      mm('s', 'w2', 'y'),
    ]
    const constants = [integers('two', [2]), integers('last', [-1])]
    const path = await asset(graphOf(nodes, ['y'], { constants, declared: [value('q', INT64, ['n'])] }))
    const { minimum, engine } = await plan(path)
    expect(engine).toBe('mixed')
    await using model = await loadModel(path, { memory: minimum })
    const wanted = (await model.run(feeds(9))).y!.data
    const zero = { ...feeds(9), d: { type: 'int64' as const, data: new BigInt64Array(9), dims: [9] } }
    for (let round = 0; round < 4; round++) {
      await expect(model.run(zero)).rejects.toMatchObject({ code: 'ENGINE' })
      expect((await model.run(feeds(9))).y!.data).toEqual(wanted)
    }
    for (const name of ['w1.bin', 'w2.bin']) {
      const bytes = await readFile(join(path, name))
      await writeFile(
        join(path, name),
        bytes.map((byte, at) => (at === 9000 ? byte ^ 1 : byte)),
      )
      // A copy that was read ahead may serve one more pass.
      await model.run(feeds(9)).catch(() => undefined)
      await expect(model.run(feeds(9))).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(name) })
      await writeFile(join(path, name), bytes)
      await model.run(feeds(9)).catch(() => undefined)
      expect((await model.run(feeds(9))).y!.data).toEqual(wanted)
    }
    const { peakResidentBytes, budgetBytes } = await model.stats()
    expect([budgetBytes, peakResidentBytes <= minimum]).toEqual([minimum, true])
  })
})
