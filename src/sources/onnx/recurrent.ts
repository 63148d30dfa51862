import type { NodeProto, TensorProto } from '../../graph/generated/onnx_pb.js'

/** Gates of a recurrent module, as ONNX orders them by their places in PyTorch. */
const ORDERS: Readonly<Record<string, readonly number[]>> = { LSTM: [0, 3, 1, 2], GRU: [1, 0, 2], RNN: [0] }
const DIRECTIONS: Readonly<Record<string, readonly string[]>> = { forward: [''], bidirectional: ['', '_reverse'] }

/** A tensor of the state dict within an initializer of ONNX: its gates from these bytes on, in the order of PyTorch. */
export interface Piece {
  readonly key: string
  readonly shape: readonly number[]
  /** elements before each gate, and in one */
  readonly starts: readonly number[]
  readonly size: number
}

/** An initializer of LSTM, GRU or RNN: (directions, gates * hidden, inputs), or of biases (directions, 2 * gates * hidden). */
export interface Recurrent {
  readonly is: 'gates'
  /** of each direction one tensor, or two of biases */
  readonly directions: readonly (readonly Piece[])[]
  /** the places of the gates in PyTorch in the order of ONNX */
  readonly order: readonly number[]
}

/** What a weight or bias of a recurrent node holds: `weight_ih_l0` and the like; undefined where it is none, or is not of PyTorch's shape. */
export function gatesOf(
  { opType, attribute }: NodeProto,
  at: number,
  { dims }: TensorProto,
  { module, layer }: { readonly module: string; readonly layer: number },
): Recurrent | undefined {
  const order = ORDERS[opType]!
  const said = attribute.find(({ name }) => name === 'direction')?.s
  const directions = DIRECTIONS[said && said.length > 0 ? Buffer.from(said).toString('latin1') : 'forward']
  const hidden = Number(attribute.find(({ name }) => name === 'hidden_size')?.i ?? 0n)
  const names = [undefined, ['weight_ih'], ['weight_hh'], ['bias_ih', 'bias_hh']][at]
  const [count, width, inputs] = dims.map(Number)
  if (!directions || !names || !(hidden > 0) || count !== directions.length) return undefined
  const isBias = names.length === 2
  if (dims.length !== (isBias ? 2 : 3) || width !== names.length * order.length * hidden) return undefined
  const size = hidden * (isBias ? 1 : inputs!)
  const each = order.length * size
  const piece = (name: string, before: number): Piece => ({
    key: `${module}.${name}`,
    shape: isBias ? [order.length * hidden] : [order.length * hidden, inputs!],
    starts: order.map((_, gate) => before + order.indexOf(gate) * size),
    size,
  })
  return {
    is: 'gates',
    order,
    directions: directions.map((suffix, direction) =>
      names.map((name, part) => piece(`${name}_l${layer}${suffix}`, (direction * names.length + part) * each)),
    ),
  }
}
