import { expect } from 'vitest'
import type { Program } from '../../src/engines/native/program.js'
import type { GraphIndex } from '../../src/graph/cut.js'

/** A program whose every promise to the engine holds; `graphs` are those of its segments in order, which make what the segments say. */
export function expectWhole(index: GraphIndex, program: Program, graphs: readonly GraphIndex[] = [index]): void {
  expect(program.segments).toHaveLength(graphs.length)
  const caches = new Set(program.caches.flatMap(({ past, present }) => [...past, ...present]))
  for (const [at, { values, nodes, inputs, outputs }] of program.segments.entries()) {
    const made = new Set(inputs.map(({ value }) => value))
    for (const node of nodes) {
      for (const value of node.inputs) expect(made.has(value)).toBe(true)
      for (const value of node.outputs) {
        expect(made.has(value) || value >= values).toBe(false)
        made.add(value)
      }
    }
    for (const { value } of outputs) expect(made.has(value)).toBe(true)
    const named = [...inputs, ...outputs].map(({ name }) => name).sort()
    const graph = graphs[at]!
    expect(named).toEqual([...graph.inputs, ...graph.outputs].flatMap(({ name }) => (caches.has(name) ? [] : [name])).sort())
  }
  for (const scale of program.scales.values()) expect(index.weights.has(scale)).toBe(true)
  const ends = new Set([...index.inputs, ...index.outputs].map(({ name }) => name))
  for (const name of caches) expect(ends.has(name)).toBe(true)
}
