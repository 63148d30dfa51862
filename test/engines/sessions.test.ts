import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { OnnxEngine } from '../../src/engines/onnx.js'
import { GraphBuilder } from '../../src/graph/build.js'
import { serializeGraph } from '../../src/graph/parse.js'

/** A segment that adds its input to itself `times` times. */
function segment(times: number) {
  const graph = new GraphBuilder('segment', new Map())
  const root = graph.module('')
  let value = graph.input('x', 'F32', [2])
  for (let i = 0; i < times; i++) value = root.op('Add', [value, value], {}, i === times - 1 ? { name: 'y' } : {})
  graph.output(value)
  return { bytes: serializeGraph(graph.finish()), inputs: ['x'], outputs: ['y'] }
}

describe('segments in ONNX Runtime', () => {
  it('of equal bytes share a session, which goes with the last of them', async () => {
    const engine = new OnnxEngine()
    const sessions = (engine as unknown as { shared: Map<string, unknown> }).shared
    const [one, two, other] = [await engine.prepare(segment(1)), await engine.prepare(segment(1)), await engine.prepare(segment(2))]
    expect(sessions.size).toBe(2)
    await one.release()
    const [y] = await two.run([new Tensor('float32', Float32Array.of(1, 2), [2])])
    expect([...(y!.data as Float32Array)]).toEqual([2, 4])
    await two.release()
    await other.release()
    expect(sessions.size).toBe(0)
  })

  it('that could not be prepared leave nothing, and are tried again', async () => {
    const engine = new OnnxEngine()
    const broken = { ...segment(1), bytes: new Uint8Array([1, 2, 3]) }
    for (let round = 0; round < 2; round++) await expect(engine.prepare(broken)).rejects.toMatchObject({ code: 'ENGINE' })
    expect((engine as unknown as { shared: Map<string, unknown> }).shared.size).toBe(0)
  })
})
