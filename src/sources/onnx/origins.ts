import type { GraphProto, NodeProto, TensorProto } from '../../graph/generated/onnx_pb.js'
import { graphsOf } from '../../graph/subgraphs.js'
import { gatesOf, type Recurrent } from './recurrent.js'
import { moduleOf } from './scopes.js'

/** What an initializer is in the state dict: a tensor of it, its transpose, or the gates of tensors of it. */
export type Origin = Named<'itself'> | Named<'transpose'> | Recurrent

interface Named<Is> {
  readonly is: Is
  readonly key: string
}

/** Where an initializer is used: by which node, as which of its inputs. */
interface Use {
  readonly node: NodeProto
  readonly at: number
}

// What the inputs of an operator are called in the module that it is.
const PARAMETERS: Readonly<Record<string, readonly (string | undefined)[]>> = Object.assign(Object.create(null), {
  BatchNormalization: [undefined, 'weight', 'bias', 'running_mean', 'running_var'],
  Conv: [undefined, 'weight', 'bias'],
  ConvTranspose: [undefined, 'weight', 'bias'],
  Gather: ['weight'],
  Gemm: [undefined, 'weight', 'bias'],
  GroupNormalization: [undefined, 'weight', 'bias'],
  InstanceNormalization: [undefined, 'weight', 'bias'],
  LayerNormalization: [undefined, 'weight', 'bias'],
  MatMul: [undefined, 'weight'],
  PRelu: [undefined, 'weight'],
  RMSNormalization: [undefined, 'weight'],
})
const QUANTISED: readonly string[] = ['', '_scale', '_zero_point']
// Each of these is a step nearer to who uses a weight; nobody needs more.
const STEPS = 4

/**
 * Says what an initializer is in the state dict by where it is used, for those that an exporter gave a name of its own
 * when it computed them out of tensors of the state dict: it turned the weights of linear modules, and puts those of recurrent ones together.
 */
export class Uses {
  private readonly uses = new Map<string, Use>()
  private readonly recurrent = new Map<NodeProto, { module: string; layer: number }>()

  constructor(graph: GraphProto) {
    this.add(graph, new Map())
  }

  /** undefined where no module uses it, or none whose tensors have names that are known */
  originOf(tensor: TensorProto): Origin | undefined {
    const use = this.uses.get(tensor.name)
    if (!use) return undefined
    const recurrent = this.recurrent.get(use.node)
    if (recurrent) return gatesOf(use.node, use.at, tensor, recurrent)
    return this.named(tensor, use)
  }

  /** True for a scale or zero point of a whole tensor, or of one for each channel: an engine that computes with whole numbers wants to know it. */
  isScale({ name, dims }: TensorProto): boolean {
    const use = this.uses.get(name)
    return use !== undefined && dims.length < 2 && use.at > 0 && /^(De)?[Qq]uantizeLinear$/.test(use.node.opType)
  }

  private named({ dims }: TensorProto, first: Use): Origin | undefined {
    let { node, at } = first
    let suffix = ''
    for (let step = 0; step < STEPS; step++) {
      if (node.opType === 'DequantizeLinear' && suffix === '') suffix = QUANTISED[at] ?? ''
      else if (!['Cast', 'DequantizeLinear', 'Identity'].includes(node.opType)) break
      const next = this.uses.get(node.output[0] ?? '')
      if (!next) return undefined
      ;({ node, at } = next)
    }
    const [module, parameter] = [moduleOf(node), PARAMETERS[node.opType]?.[at]]
    if (!module || !parameter) return undefined
    const key = `${module}.${parameter}${suffix}`
    const isTurned = node === first.node && parameter === 'weight' && dims.length === 2 && turns(node)
    return { key, is: isTurned ? 'transpose' : 'itself' }
  }

  /** The first use of each name; `layers` counts the recurrent nodes of each module. */
  private add({ node }: GraphProto, layers: Map<string, number>): void {
    for (const one of node) {
      for (const [at, name] of one.input.entries()) if (name !== '' && !this.uses.has(name)) this.uses.set(name, { node: one, at })
      for (const held of graphsOf(one)) this.add(held, layers)
      const module = ['LSTM', 'GRU', 'RNN'].includes(one.opType) ? moduleOf(one) : undefined
      if (!module) continue
      const layer = layers.get(module) ?? 0
      layers.set(module, layer + 1)
      this.recurrent.set(one, { module, layer })
    }
  }
}

/** True for an operator that takes the matrix (inputs, outputs), which is the transpose of a linear module's weight. */
function turns({ opType, attribute }: NodeProto): boolean {
  if (opType === 'Gemm') return (attribute.find(({ name }) => name === 'transB')?.i ?? 0n) === 0n
  return opType === 'MatMul'
}
