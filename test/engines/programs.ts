import { expect } from 'vitest'
import type { Program } from '../../src/engines/native/program.js'
import type { GraphIndex } from '../../src/graph/cut.js'

/** A program whose every promise to the engine holds. */
export function expectWhole(index: GraphIndex, program: Program): void {
  const made = new Set(program.inputs.map(({ value }) => value))
  for (const { inputs, outputs } of program.nodes) {
    for (const value of inputs) expect(made.has(value)).toBe(true)
    for (const value of outputs) {
      expect(made.has(value) || value >= program.values).toBe(false)
      made.add(value)
    }
  }
  for (const scale of program.scales.values()) expect(index.weights.has(scale)).toBe(true)
  for (const { value } of program.outputs) expect(made.has(value)).toBe(true)
  const cached = program.caches.flatMap(({ past, present }) => [...past, ...present])
  const named = [...program.inputs, ...program.outputs].map(({ name }) => name)
  expect([...named, ...cached].sort()).toEqual([...index.inputs, ...index.outputs].map(({ name }) => name).sort())
}
