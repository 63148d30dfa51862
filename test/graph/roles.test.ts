import { describe, expect, it } from 'vitest'
import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { weightRoles } from '../../src/graph/roles.js'
import { external, floats, modelOf, node, value } from '../graph/onnx.js'

const { FLOAT } = DataType

/** Two products, and what makes logits of the second. */
function rolesOf(...ends: ReturnType<typeof node>[]) {
  const weights = ['a', 'b'].map((name) => external(name, FLOAT, [4, 4]))
  const products = [
    node('Transpose', ['a'], ['at'], { perm: [1, 0] }),
    node('MatMul', ['x', 'at'], ['y']),
    node('Transpose', ['b'], ['bt'], { perm: [1, 0] }),
    node('MatMul', ['y', 'bt'], ['z']),
  ]
  const model = modelOf({
    input: [value('x', FLOAT, ['n', 4])],
    initializer: [...weights, floats('cap', [30], [])],
    node: [...products, ...ends],
    output: [value('logits', FLOAT)],
  })
  return new Map([...weightRoles(model)].map(([name, roles]) => [name, [...roles]]))
}

describe('the output head is', () => {
  it('the product that makes the logits, be they capped', () => {
    const capped = [node('Div', ['z', 'cap'], ['part']), node('Tanh', ['part'], ['t']), node('Mul', ['t', 'cap'], ['logits'])]
    for (const ends of [[node('Identity', ['z'], ['logits'])], capped])
      expect(rolesOf(...ends)).toEqual(
        new Map([
          ['a', ['linear']],
          ['b', ['head']],
        ]),
      )
  })
  it('none of two that are added up', () => {
    expect(rolesOf(node('Add', ['y', 'z'], ['logits'])).get('b')).toEqual(['linear'])
  })
})

describe('what a Softmax takes', () => {
  it('is not the product of a matrix that may have fewer bits: a router', () => {
    expect(rolesOf(node('Softmax', ['y'], ['s']), node('Add', ['s', 'z'], ['logits'])).get('a')).toEqual(['other'])
  })
})
