import { AssetError } from '../src/core/errors.js'
import type { Module, Value } from '../src/graph/build.js'
import { badConfig, type ConfigReader } from './config.js'

const { fround } = Math

/** The rotary tables of one pass, each (batch, sequence, head_dim / 2). */
export interface Rotary {
  readonly cos: Value
  readonly sin: Value
}

/**
 * Inverse frequencies of the rotary position embedding (head_dim / 2 values, each a float32), rounded after each step as
 * transformers does. Reads `rope_parameters`, or `rope_scaling` beside `rope_theta` as older files have them.
 * Source: transformers, modeling_rope_utils.py; RoPE is arXiv 2104.09864.
 * @throws AssetError 'UNSUPPORTED' naming a rope type other than default, linear and llama3
 */
export function inverseFrequencies(config: ConfigReader, headDim: number): number[] {
  if (headDim % 2 !== 0 || headDim > 65536) throw badConfig(`head_dim is ${headDim}, rotary embeddings need an even one up to 65536`)
  const rope = config.object('rope_scaling') ?? config.object('rope_parameters')
  const theta = rope?.has('rope_theta') ? rope.positive('rope_theta') : config.positive('rope_theta', 10000)
  const type = rope?.text('rope_type', rope.text('type', 'default')) ?? 'default'
  const partial = rope?.has('partial_rotary_factor') ? rope : config
  if (partial.positive('partial_rotary_factor', 1) !== 1)
    throw new AssetError('UNSUPPORTED', 'Cannot build the graph: partial_rotary_factor is not supported for this family')
  const plain = Array.from({ length: headDim / 2 }, (_, n) => fround(1 / fround(theta ** fround((2 * n) / headDim))))
  if (type === 'default') return plain
  if (rope && type === 'linear') {
    const factor = rope.positive('factor')
    return plain.map((frequency) => fround(frequency / factor))
  }
  if (rope && type === 'llama3') return llama3(rope, config, plain)
  throw new AssetError('UNSUPPORTED', `Cannot build the graph: the rope type ${JSON.stringify(type.slice(0, 80))} is not supported`)
}

/** Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
function llama3(rope: ConfigReader, config: ConfigReader, plain: readonly number[]): number[] {
  const factor = rope.positive('factor')
  const [low, high] = [rope.positive('low_freq_factor'), rope.positive('high_freq_factor')]
  const length = rope.has('original_max_position_embeddings')
    ? rope.size('original_max_position_embeddings')
    : config.size('max_position_embeddings')
  if (high <= low) throw badConfig(`high_freq_factor is ${high}, expected more than low_freq_factor ${low}`)
  return plain.map((frequency) => {
    const wavelength = fround((2 * Math.PI) / frequency)
    if (wavelength < length / high) return frequency
    if (wavelength > length / low) return fround(frequency / factor)
    const smooth = fround(fround(fround(length / wavelength) - low) / (high - low))
    return fround(fround(fround(fround(1 - smooth) * frequency) / factor) + fround(smooth * frequency))
  })
}

/** Computes the rotary tables from `position_ids` (batch, sequence), in float32. */
export function rotary(module: Module, positions: Value, frequencies: readonly number[]): Rotary {
  const width = frequencies.length
  const column = module.op('Unsqueeze', [positions, module.integers(-1)], {}, { dims: ['batch', 'sequence', 1] })
  const inverse = module.graph.constant('inv_freq', 'F32', frequencies, [1, 1, width])
  const angles = module.op('Mul', [module.float(column), inverse], {}, { dims: ['batch', 'sequence', width] })
  return { cos: module.op('Cos', [angles]), sin: module.op('Sin', [angles]) }
}

/** Turns x (batch, sequence, heads * head_dim) by its positions; halves are turned against each other, as transformers does. */
export function rotate(module: Module, x: Value, { cos, sin }: Rotary, heads: number): Value {
  return module.op('RotaryEmbedding', [x, cos, sin], { num_heads: BigInt(heads), interleaved: 0n })
}
