import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { DecodeTurns } from '../../src/executor/decode-turns.js'

/** Turns whose passes take 60 ms and are noted: who shared them. */
function watched() {
  const batches: string[] = []
  const turns = new DecodeTurns<string>(async (steps) => {
    batches.push(steps.map(({ session }) => session).join(''))
    await sleep(60)
    return steps.map(({ id }) => Float32Array.of(id))
  })
  return { turns, batches }
}

/** One sequence of some steps, each asked for some turns of the event loop after the last was answered. */
async function sequence(turns: DecodeTurns<string>, session: string, steps: number, late: number): Promise<void> {
  for (let at = 0; at < steps; at++) {
    expect([...(await turns.step(session, at, undefined))]).toEqual([at])
    for (let wait = 0; wait < late; wait++) await turn()
  }
  turns.leave(session)
}

test('sequences that shared a pass stay together, though they come back one after the other', async () => {
  const { turns, batches } = watched()
  await Promise.all([...'abcd'].map((session, at) => sequence(turns, session, 8, at)))
  // Apart they would be twice as many: one alone, then the three that gathered meanwhile, and so on.
  expect(batches.length).toBeLessThanOrEqual(11)
  expect(batches.filter((batch) => batch.length === 4).length).toBeGreaterThanOrEqual(5)
})

test('nobody waits for a sequence that has left, or does not come back', async () => {
  const { turns, batches } = watched()
  const lost = turns.step('z', 0, undefined)
  await Promise.all([sequence(turns, 'a', 2, 0), sequence(turns, 'b', 4, 0), lost])
  expect(batches.join(' ')).toBe('zab ab b b')
})

test('prompts take their turn between', async () => {
  const { turns, batches } = watched()
  const order: string[] = []
  const prompt = async () => void order.push(`prompt after ${batches.length}`)
  await Promise.all([sequence(turns, 'a', 3, 0), sleep(30).then(() => turns.pass(prompt))])
  expect(order).toEqual(['prompt after 1'])
})
