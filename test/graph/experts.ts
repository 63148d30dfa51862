import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { external, node, type Parts, value } from './onnx.js'

const { FLOAT, INT64 } = DataType

/** Nodes that send the rows of `x` that `share` has something for to one matrix, and add what it makes of them to `sum`: `made`. */
export function expert(share: string, matrix: string, sum: string, made: string) {
  return [
    node('NonZero', [share], [`${made}/places`]),
    node('Transpose', [`${made}/places`], [`${made}/rows`], { perm: [1, 0] }),
    node('GatherND', ['x', `${made}/rows`], [`${made}/taken`]),
    node('MatMul', [`${made}/taken`, matrix], [`${made}/product`]),
    node('ScatterND', [sum, `${made}/rows`, `${made}/product`], [made], { reduction: 'add' }),
  ]
}

/** x (rows, 4), a (rows), b (rows) -> y: x, and to the rows that a and b name the product with `wa` and `wb`. */
export function twoExperts(): Required<Parts> {
  const names = ['a', 'b'].flatMap((made) => [`${made}/places`, `${made}/rows`])
  const floats = ['y/a', 'y'].flatMap((made) => [`${made}/taken`, `${made}/product`])
  return {
    input: [value('x', FLOAT, ['rows', 4]), value('a', FLOAT, ['rows']), value('b', FLOAT, ['rows'])],
    initializer: [external('wa', FLOAT, [4, 4]), external('wb', FLOAT, [4, 4])],
    node: [...expert('a', 'wa', 'x', 'y/a'), ...expert('b', 'wb', 'y/a', 'y')],
    valueInfo: [
      ...names.map((name) => value(name.replace(/^a/, 'y/a').replace(/^b/, 'y'), INT64)),
      ...floats.map((name) => value(name, FLOAT)),
      value('y/a', FLOAT),
    ],
    output: [value('y', FLOAT, ['rows', 4])],
  }
}
