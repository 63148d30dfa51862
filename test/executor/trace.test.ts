import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, type Model, plan, type Trace } from '../../src/api/index.js'
import { traceOf } from '../../src/api/trace.js'
import { TraceLog } from '../../src/core/trace.js'
import { clockAhead } from '../../src/executor/native-trace.js'
import { fragmentFor, type TestStore, testStore } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const spansOf = ({ traceEvents }: Trace) => traceEvents.flatMap((event) => (event.ph === 'X' ? [event] : []))

describe.each(ENGINES)('a trace of engine %s', (engine) => {
  let assets: TestStore
  let cid: string
  beforeAll(async () => {
    assets = await testStore()
    cid = await fragmentFor(DEMO, assets.store, engine)
  })
  afterAll(() => assets.remove())

  const load = async (trace: boolean) => {
    const { minimum } = await plan(cid, { store: assets.store, engine: choiceOf(engine) })
    return loadModel(cid, { store: assets.store, engine: choiceOf(engine), memory: Math.floor(minimum * 1.2), trace })
  }
  const generate = async (model: Model) => {
    for await (const _ of model.generate('4 April 1999', { maxTokens: 4, ignoreEos: true }));
  }

  it('accounts for every byte, wait and pass, in order', async () => {
    await using model = await load(true)
    await generate(model)
    // reading ahead goes on until there is no room
    let stats = await model.stats()
    for (let before = -1; before !== stats.diskBytes; stats = await model.stats()) {
      before = stats.diskBytes
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const trace = JSON.parse(JSON.stringify(await model.trace())) as Trace
    expect(trace.otherData.leftOut).toBe(0)
    const spans = spansOf(trace)
    const of = (lane: string) => spans.filter(({ cat }) => cat === lane)
    expect(of('disk').reduce((sum, { args }) => sum + args.bytes!, 0)).toBe(stats.diskBytes)
    expect(of('pass')).toHaveLength(stats.passes)
    expect(of('wait')).toHaveLength(stats.waits)
    expect(of('wait').reduce((sum, { dur }) => sum + dur / 1000, 0)).toBeCloseTo(stats.waitMs, -1)
    const computed = new Set(of('compute').map(({ name }) => name))
    for (const layer of [0, 1, 2, 3]) expect(computed).toContain(`model.layers.${layer}.mlp.up_proj.weight`)
    expect(spans[0]!.ts).toBe(0)
    expect(spans.every(({ ts, dur }, at) => dur >= 0 && ts >= (spans[at - 1]?.ts ?? 0))).toBe(true)
    // each pass computes the same, in runs of tiles that depend on what was there
    const inPass = of('pass').map((pass) => of('compute').filter(({ ts, dur }) => ts >= pass.ts && ts + dur <= pass.ts + pass.dur))
    expect(inPass.flat()).toHaveLength(of('compute').length)
    for (const events of inPass) expect(new Set(events.map(({ name }) => name))).toEqual(computed)
    expect(spansOf(await model.trace())).toEqual([])
  })

  it('is empty unless it was asked for', async () => {
    await using model = await load(false)
    await generate(model)
    expect(spansOf(await model.trace())).toEqual([])
  })
})

describe('a trace', () => {
  it('is on one clock, whatever interrupts a look at the other', () => {
    let looks = 0
    const ahead = clockAhead(() => {
      const there = performance.now() - 1000
      looks += 1
      const until = performance.now() + (looks % 4 === 0 ? 0 : 3)
      while (performance.now() < until);
      return there
    })
    expect(ahead).toBeCloseTo(1000, 1)
  })

  it('keeps so many events and counts the others', () => {
    const log = new TraceLog(2)
    for (const name of ['a', 'b', 'c']) log.record('compute', name, performance.now())
    const { events, leftOut } = log.take()
    expect(events.map(({ name }) => name)).toEqual(['a', 'b'])
    expect(leftOut).toBe(1)
    expect(log.take()).toEqual({ events: [], leftOut: 0 })
  })

  it('shows reads that overlap in rows of their own', () => {
    const read = (start: number, duration: number) => ({ lane: 'disk' as const, name: 'file', start, duration, bytes: 1 })
    const trace = traceOf({ events: [read(30, 5), read(10, 10), read(12, 3), read(20, 5)], leftOut: 7 })
    expect(spansOf(trace).map(({ tid, ts, dur }) => [tid, ts, dur])).toEqual([
      [4, 0, 10_000],
      [5, 2000, 3000],
      [4, 10_000, 5000],
      [4, 20_000, 5000],
    ])
    const rows = trace.traceEvents.flatMap((event) => (event.ph === 'M' ? [event.args.name] : []))
    expect(rows).toEqual(['pass', 'compute', 'wait', 'disk 1', 'disk 2'])
    expect(trace.otherData.leftOut).toBe(7)
  })
})
