import { describe, expect, it } from 'vitest'
import { branchesOf } from '../../src/graph/branches.js'
import { indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType, type NodeProto } from '../../src/graph/generated/onnx_pb.js'
import { expert, twoExperts } from './experts.js'
import { external, integers, modelOf, node, type Parts, value } from './onnx.js'

const { FLOAT } = DataType

function branches(parts: Parts): string[] {
  const found = branchesOf(indexGraph(modelOf(parts)))
  return [...found.values()].map(({ nodes, output }) => `${output}: ${nodes.map(({ opType }) => opType).join()}`).sort()
}

/** Two experts, with a node more or an output more. */
function changed(change: (parts: Required<Parts>) => Parts): string[] {
  const parts = twoExperts()
  return branches({ ...parts, ...change(parts) })
}

/** A node with another input, if it is of that operator (and makes that). */
function rewired(one: NodeProto, opType: string, from: string, to: string, made = one.output[0]): NodeProto {
  if (one.opType !== opType || one.output[0] !== made) return one
  const input = one.input.map((name) => (name === from ? to : name))
  return node(opType, input, one.output)
}

describe('branches of a graph', () => {
  it('are what serves the updates of one ScatterND at places found: not the places, not the data', () => {
    expect(branches(twoExperts())).toEqual(['y/a: GatherND,MatMul,ScatterND', 'y: GatherND,MatMul,ScatterND'])
    const found = [...branchesOf(indexGraph(modelOf(twoExperts()))).values()].find(({ output }) => output === 'y')
    expect(found).toMatchObject({ rows: 'y/rows', data: 'y/a', output: 'y' })
  })

  it('leave out what anybody else uses, and what only that needs', () => {
    const used = changed(({ node: nodes, output }) => ({
      node: [...nodes, node('Identity', ['y/taken'], ['z'])],
      output: [...output, value('z', FLOAT)],
    }))
    expect(used).toEqual(['y/a: GatherND,MatMul,ScatterND', 'y: MatMul,ScatterND'])
    const given = changed(({ output }) => ({ output: [...output, value('y/product', FLOAT)] }))
    expect(given).toEqual(['y/a: GatherND,MatMul,ScatterND'])
  })

  it('are none at places that are given, computed in another way, or where no weight is needed', () => {
    const a = ['y/a: GatherND,MatMul,ScatterND']
    expect(changed(({ node: nodes }) => ({ node: nodes.map((one) => rewired(one, 'ScatterND', 'y/rows', 'y/places')) }))).toEqual(a)
    const given = changed(({ initializer, node: nodes }) => ({
      initializer: [...initializer, integers('here', [0, 0], [2, 1])],
      node: nodes.map((one) => rewired(one, 'ScatterND', 'y/rows', 'here')),
    }))
    expect(given).toEqual(a)
    const weightless = changed(({ initializer, input }) => ({
      initializer: initializer.slice(0, 1),
      input: [...input, value('wb', FLOAT, [4, 4])],
    }))
    expect(weightless).toEqual(a)
  })

  it('hold those inside of them', () => {
    const nested = changed(({ node: nodes }) => ({
      node: nodes.map((one) => rewired(rewired(one, 'GatherND', 'x', 'y/a', 'y/taken'), 'ScatterND', 'y/a', 'x', 'y')),
    }))
    expect(nested).toEqual(['y: NonZero,Transpose,GatherND,MatMul,ScatterND,GatherND,MatMul,ScatterND'])
  })

  it('of a graph of fifty thousand are found within the limit of a test', () => {
    const count = 50_000
    const names = Array.from({ length: count }, (_, at) => `s${at}`)
    const parts = {
      ...twoExperts(),
      initializer: names.map((name) => external(`w${name}`, FLOAT, [4, 4])),
      node: names.flatMap((name, at) => expert('a', `w${name}`, at === 0 ? 'x' : names[at - 1]!, name)),
      output: [value(names.at(-1)!, FLOAT)],
    }
    expect(branches(parts)).toHaveLength(count)
  })
})
