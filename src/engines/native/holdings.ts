import type { GraphIndex } from '../../graph/cut.js'
import { BLOCK_SIZE } from '../../graph/low-bit.js'
import { shown } from '../../graph/names.js'
import { readsOf } from '../../graph/subgraphs.js'
import { cannot, FLOATS } from './not-native.js'
import type { CacheShape } from './program.js'

/** Names with numbers in the order of their first use. */
class Numbered {
  private readonly at = new Map<string, number>()

  of(name: string): number {
    const at = this.at.get(name) ?? this.at.size
    this.at.set(name, at)
    return at
  }

  get names(): string[] {
    return [...this.at.keys()]
  }
}

/** The weights and caches of a program, which all of its segments have in common. */
export class Holdings {
  readonly vectors = new Numbered()
  readonly matrices = new Numbered()
  /** names of matrices of whole numbers, and of their scales */
  readonly scales = new Map<string, string>()
  readonly caches: CacheShape[] = []
  private readonly inputs: ReadonlySet<string>
  private readonly outputs: ReadonlySet<string>
  /** how often nodes use a name */
  private readonly uses = new Map<string, number>()

  /** `index` is the whole graph. */
  constructor(private readonly index: GraphIndex) {
    this.inputs = new Set(index.inputs.map(({ name }) => name))
    this.outputs = new Set(index.outputs.map(({ name }) => name))
    for (const node of index.nodes) for (const name of readsOf(node)) this.uses.set(name, (this.uses.get(name) ?? 0) + 1)
  }

  /** Joins whole numbers and their scales, one for each block of a row. @throws AssetError 'UNSUPPORTED' where they don't fit */
  join(name: string, scale: string): void {
    const [weight, by] = [this.index.weights.get(name)!.tensor, this.index.weights.get(scale)!.tensor]
    const [rows, inputs] = weight.dims.map(Number) as [number, number]
    if (inputs % BLOCK_SIZE !== 0 || by.dims.map(Number).join() !== [rows, inputs / BLOCK_SIZE].join())
      throw cannot(`the weight ${shown(name)} [${weight.dims}] has scales [${by.dims}], not one for each ${BLOCK_SIZE} inputs`)
    if (!FLOATS.includes(by.dataType)) throw cannot(`the scales ${shown(scale)} are of ONNX element type ${by.dataType}`)
    if ((this.scales.get(name) ?? scale) !== scale) throw cannot(`the weight ${shown(name)} has two sets of scales`)
    this.scales.set(name, scale)
  }

  /**
   * A new cache of keys and values: `past` are its inputs of the graph and `present` its outputs, which nothing else uses.
   * @throws AssetError 'UNSUPPORTED' where they are something else
   */
  cache(kvHeads: number, past: readonly string[], present: readonly string[]): number {
    const dims = past.map((name) => {
      const type = this.index.types.get(name)?.value
      const dim = type?.case === 'tensorType' ? (type.value.shape?.dim ?? []) : []
      return dim.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : undefined))
    })
    const headDim = dims[0]?.[3]
    const fits =
      past.length === 2 &&
      present.length === 2 &&
      new Set([...past, ...present]).size === 4 &&
      past.every((name) => this.inputs.has(name) && !this.outputs.has(name) && this.uses.get(name) === 1) &&
      present.every((name) => this.outputs.has(name) && !this.uses.has(name)) &&
      dims.every((dim) => dim.length === 4 && dim[1] === kvHeads && dim[3] === headDim)
    if (!fits || !headDim) throw cannot('the cache of an Attention is not an input and an output of the graph, for it alone')
    return this.caches.push({ kvHeads, headDim, past: past as [string, string], present: present as [string, string] }) - 1
  }
}
