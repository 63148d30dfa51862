import type { Module, Value } from '../src/graph/build.js'
import type { Turn } from './turn.js'

/** The rotary tables of one pass, each (batch, sequence, turned / 2). */
export interface Rotary {
  readonly cos: Value
  readonly sin: Value
  /** elements of a head that are turned, where others stay */
  readonly partial?: number
}

/** The rotary tables of a model, in float32, once for all layers that turn alike. */
export class RotaryTables {
  private readonly made = new Map<Turn, Rotary>()

  /** `positions` are (batch, sequence). */
  constructor(
    private readonly module: Module,
    private readonly positions: Value,
  ) {}

  of(turn: Turn): Rotary {
    const known = this.made.get(turn)
    if (known) return known
    const rotary = this.make(turn)
    this.made.set(turn, rotary)
    return rotary
  }

  private make({ frequencies, width, scale, long, name = 'inv_freq' }: Turn): Rotary {
    const { module } = this
    const turned = frequencies.length
    const column = module.op('Unsqueeze', [this.positions, module.integers(-1)], {}, { dims: ['batch', 'sequence', 1] })
    const places = module.float(column)
    let inverse = module.graph.constant(name, 'F32', frequencies, [1, 1, turned])
    if (long) {
      const last = module.op('ReduceMax', [places, module.integers(1)], { keepdims: 1n }, { dims: ['batch', 1, 1] })
      // Of each sequence by itself: what it gives must not depend on the others of its batch.
      const isLong = module.op('Greater', [last, module.scalar(long.over - 1)], {}, { dtype: 'BOOL' })
      const other = module.graph.constant(`long_${name}`, 'F32', long.frequencies, [1, 1, turned])
      inverse = module.op('Where', [isLong, other, inverse], {}, { dtype: 'F32', dims: ['batch', 1, turned] })
    }
    const angles = module.op('Mul', [places, inverse], {}, { dims: ['batch', 'sequence', turned] })
    const [cos, sin] = [module.op('Cos', [angles]), module.op('Sin', [angles])]
    const scaled = (table: Value) => (scale === 1 ? table : module.op('Mul', [table, module.scalar(scale)]))
    return { cos: scaled(cos), sin: scaled(sin), ...(2 * turned < width && { partial: 2 * turned }) }
  }
}

/** Turns x (batch, sequence, heads * head_dim) by its positions; halves are turned against each other, as transformers does. */
export function rotate(module: Module, x: Value, { cos, sin, partial }: Rotary, heads: number): Value {
  const width = partial !== undefined && { rotary_embedding_dim: BigInt(partial) }
  return module.op('RotaryEmbedding', [x, cos, sin], { num_heads: BigInt(heads), interleaved: 0n, ...width })
}
