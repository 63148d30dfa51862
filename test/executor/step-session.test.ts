import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import type { NativeSession } from '../../src/engines/native/addon.js'
import { StepSession } from '../../src/executor/step-session.js'

/** Caches that a pass makes longer before it can fail. */
class Caches implements NativeSession {
  length = 0
  bytes = 100
  truncate(length: number): void {
    this.length = Math.min(this.length, length)
  }
  free(): void {
    this.bytes = 0
  }
}

describe('a session of both engines', () => {
  it('gives each pass the caches of the ones before, and after one that failed is as long as before', async () => {
    const native = new Caches()
    const seen: [string[], number][] = []
    let fails = false
    const session = new StepSession(native, 'input_ids', async (feeds, past) => {
      seen.push([[...feeds.keys()], past])
      const count = feeds.get('input_ids')!.size
      native.length += count
      if (fails) throw new Error('between two segments')
      return new Map([
        ['logits', new Tensor('float32', Float32Array.of(past, count), [1, 1, 2])],
        ['present.1.key', new Tensor('float32', new Float32Array(past + count), [1, 1, past + count, 1])],
      ])
    })
    expect([...(await session.pass([7, 8, 9], {}))]).toEqual([0, 3])
    fails = true
    await expect(session.pass([5, 5], {})).rejects.toThrow('between two segments')
    expect(native.length).toBe(3)
    fails = false
    expect([...(await session.pass([5], {}))]).toEqual([3, 1])
    expect(seen).toEqual([
      [['input_ids'], 0],
      [['past_key_values.1.key', 'input_ids'], 3],
      [['past_key_values.1.key', 'input_ids'], 3],
    ])
    expect(session.bytes).toBe(100 + 4 * 4)
    session.free()
    expect(session.bytes).toBe(0)
  })
})
