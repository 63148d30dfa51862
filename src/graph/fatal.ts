import { AssetError } from '../core/errors.js'
import type { NodeProto } from './generated/onnx_pb.js'
import { shown } from './names.js'

/**
 * Refuses what is known to end the whole process inside ONNX Runtime 1.30 (a signal, or an abort of V8), found by trying
 * every operator with odd numbers; whatever ends in an error of its own is left to it. It can't be complete: what only
 * a run shows (a Loop without an end, a dimension of 0 before TopK, InstanceNormalization or LSTM, the smallest integer divided by a -1 that
 * is computed, sizes that are computed, an output of 4 GiB that many small nodes add up to) is not to be seen here. Who
 * runs graphs of strangers in ONNX Runtime needs a process for them; the native engine has none of these ends.
 */
export function refuseFatal(node: NodeProto, constant: Constant): void {
  CHECKS.get(node.opType)?.(node, constant)
  const sizes = SIZES.get(node.opType)
  for (const at of sizes?.inputs ?? []) checkSizes(node, constant(node.input[at] ?? '')?.values)
  for (const { name, i, ints, floats } of node.attribute)
    if (sizes?.attributes?.includes(name)) checkSizes(node, [i, ...ints, ...floats].map(Number))
}

/** The numbers of a constant, and whether they are integers; undefined for a name that is none. */
export type Constant = (name: string) => { readonly integers: boolean; readonly values: readonly number[] } | undefined

// Elements that constants may ask for; 8 bytes each are half of what one JavaScript buffer can hold.
const ELEMENTS = 2 ** 28
const HEADS = 2 ** 16

/** Where an operator says how large its output is: inputs by their place, attributes by name. */
const SIZES = new Map<string, { readonly inputs?: readonly number[]; readonly attributes?: readonly string[] }>(
  Object.entries({
    AffineGrid: { inputs: [1] },
    AveragePool: { attributes: ['pads', 'kernel_shape'] },
    BlackmanWindow: { inputs: [0] },
    CenterCropPad: { inputs: [1] },
    Col2Im: { inputs: [1, 2], attributes: ['pads'] },
    ConstantOfShape: { inputs: [0] },
    Conv: { attributes: ['pads'] },
    ConvInteger: { attributes: ['pads'] },
    ConvTranspose: { attributes: ['output_shape', 'output_padding', 'strides', 'dilations', 'pads'] },
    DFT: { inputs: [1] },
    Expand: { inputs: [1] },
    HammingWindow: { inputs: [0] },
    HannWindow: { inputs: [0] },
    LpPool: { attributes: ['pads', 'kernel_shape'] },
    MaxPool: { attributes: ['pads', 'kernel_shape'] },
    MaxRoiPool: { attributes: ['pooled_shape'] },
    MaxUnpool: { inputs: [2], attributes: ['kernel_shape', 'strides', 'pads'] },
    MelWeightMatrix: { inputs: [0, 1] },
    Multinomial: { attributes: ['sample_size'] },
    OneHot: { inputs: [1] },
    Pad: { inputs: [1], attributes: ['pads'] },
    RandomNormal: { attributes: ['shape'] },
    RandomUniform: { attributes: ['shape'] },
    Resize: { inputs: [2, 3] },
    RoiAlign: { attributes: ['output_height', 'output_width'] },
    STFT: { inputs: [1, 3] },
    Tile: { inputs: [1] },
    Upsample: { inputs: [1], attributes: ['scales'] },
  }),
)

const CHECKS = new Map<string, (node: NodeProto, constant: Constant) => void>(
  Object.entries({
    Attention: (node) => {
      const [heads, kvHeads] = [attribute(node, 'q_num_heads'), attribute(node, 'kv_num_heads')]
      for (const count of [heads, kvHeads])
        if (count !== undefined && !(count >= 1 && count <= HEADS)) throw refusal(node, `has ${count} heads`)
      if (heads !== undefined && kvHeads !== undefined && heads % kvHeads !== 0)
        throw refusal(node, `has ${heads} heads, which is not a multiple of its ${kvHeads} heads of keys and values`)
      const mode = attribute(node, 'qk_matmul_output_mode') ?? 0
      if (!(mode >= 0 && mode <= 3)) throw refusal(node, `has the qk_matmul_output_mode ${mode}`)
    },
    GatherND: (node) => {
      const dimensions = attribute(node, 'batch_dims') ?? 0
      if (!(dimensions >= 0 && dimensions <= 32)) throw refusal(node, `has the batch_dims ${dimensions}`)
    },
    Loop: (node, constant) => {
      const trips = constant(node.input[0] ?? '')?.values[0] ?? 0
      if (trips > ELEMENTS) throw refusal(node, `asks for ${trips} rounds, at most ${ELEMENTS} are run`)
    },
    OneHot: (node, constant) => {
      if (constant(node.input[1] ?? '')?.values.length === 0) throw refusal(node, 'has no depth')
    },
    Range: (node, constant) => {
      const [start, limit, delta] = [0, 1, 2].map((at) => constant(node.input[at] ?? '')?.values[0])
      if (start === undefined || limit === undefined || delta === undefined) return
      const count = (limit - start) / delta
      if (count > ELEMENTS) throw refusal(node, `asks for ${count} elements, at most ${ELEMENTS} are made`)
    },
    Div: refuseMinusOne,
    Mod: refuseMinusOne,
  }),
)

/** The smallest integer has no positive counterpart: dividing it by -1 is a trap of the processor. */
function refuseMinusOne(node: NodeProto, constant: Constant): void {
  const divisor = constant(node.input[1] ?? '')
  if (divisor?.integers && divisor.values.includes(-1)) throw refusal(node, 'divides integers by -1')
}

function checkSizes(node: NodeProto, sizes: readonly number[] | undefined): void {
  const product = (sizes ?? []).reduce((product, size) => product * Math.max(1, Math.abs(size)), 1)
  if (!(product <= ELEMENTS)) throw refusal(node, `asks for ${product} elements, at most ${ELEMENTS} are made`)
}

function attribute(node: NodeProto, name: string): number | undefined {
  const found = node.attribute.find((one) => one.name === name)
  return found && Number(found.i)
}

function refusal({ name, opType }: NodeProto, why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot run the graph: node ${shown(name)} (${shown(opType)}) ${why}`)
}
