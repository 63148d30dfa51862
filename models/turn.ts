import { AssetError } from '../src/core/errors.js'
import { badConfig, type ConfigReader } from './config.js'

const { fround } = Math

/** How heads of queries and keys are turned by their positions. */
export interface Turn {
  /** inverse frequencies: half as many as elements of a head are turned, from the first on; the others stay */
  readonly frequencies: readonly number[]
  /** of a head */
  readonly width: number
  /** by which sines and cosines are multiplied */
  readonly scale: number
  /** other frequencies for sequences of more than `over` tokens */
  readonly long?: { readonly over: number; readonly frequencies: readonly number[] }
  /** what the constants are called in the graph, where a model turns in more than one way */
  readonly name?: string
}

/** What a family says about its rotary positions where config.json does not; a family without `partial` turns whole heads. */
export interface TurnDefaults {
  readonly theta?: number
  readonly partial?: number
}

/**
 * How a config.json says that heads are turned: `rope_parameters`, or `rope_scaling` beside `rope_theta` as older files have
 * them. Every frequency is a float32, rounded after each step as transformers does.
 * Source: transformers, modeling_rope_utils.py; RoPE is arXiv 2104.09864, LongRoPE 2402.13753.
 * @throws AssetError 'UNSUPPORTED' naming a rope type other than default, linear, llama3 and longrope
 */
export function turnOf(config: ConfigReader, headDim: number, defaults: TurnDefaults = {}): Turn {
  return readTurn(config.object('rope_scaling') ?? config.object('rope_parameters'), config, headDim, defaults)
}

/** The same of one object of rotary parameters, for a family that has several. */
export function readTurn(rope: ConfigReader | undefined, config: ConfigReader, headDim: number, defaults: TurnDefaults = {}): Turn {
  if (headDim % 2 !== 0 || headDim > 65536) throw badConfig(`head_dim is ${headDim}, rotary embeddings need an even one up to 65536`)
  const width = turnedWidth(rope, config, headDim, defaults.partial)
  const theta = rope?.has('rope_theta') ? rope.positive('rope_theta') : config.positive('rope_theta', defaults.theta ?? 10000)
  const powers = Array.from({ length: width / 2 }, (_, n) => fround(theta ** fround((2 * n) / width)))
  const plain = powers.map((power) => fround(1 / power))
  const whole = { width: headDim, scale: 1 }
  const type = typeOf(rope)
  if (type === 'default') return { ...whole, frequencies: plain }
  if (rope && type === 'linear') {
    const factor = rope.positive('factor')
    return { ...whole, frequencies: plain.map((frequency) => fround(frequency / factor)) }
  }
  if (rope && type === 'llama3') return { ...whole, frequencies: llama3(rope, config, plain) }
  if (rope && type === 'longrope') return longrope(rope, config, powers, headDim)
  throw new AssetError('UNSUPPORTED', `Cannot build the graph: the rope type ${JSON.stringify(type.slice(0, 80))} is not supported`)
}

/** `su` is what the first files with longrope called it. */
function typeOf(rope: ConfigReader | undefined): string {
  const type = rope?.text('rope_type', rope.text('type', 'default')) ?? 'default'
  return type === 'su' ? 'longrope' : type
}

/** Elements of a head that are turned. */
function turnedWidth(rope: ConfigReader | undefined, config: ConfigReader, headDim: number, partial: number | undefined): number {
  const factor = (rope?.has('partial_rotary_factor') ? rope : config).positive('partial_rotary_factor', partial ?? 1)
  if (partial === undefined && factor !== 1)
    throw new AssetError('UNSUPPORTED', 'Cannot build the graph: partial_rotary_factor is not supported for this family')
  const width = Math.floor(headDim * factor)
  if (width > headDim || width < 2 || width % 2 !== 0)
    throw badConfig(`partial_rotary_factor is ${factor}, which turns ${width} of ${headDim} elements; expected an even number of them`)
  return width
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

/** LongRoPE: each frequency has a factor of its own, another one for sequences longer than the model was trained on at first. */
function longrope(rope: ConfigReader, config: ConfigReader, powers: readonly number[], width: number): Turn {
  const over = originalLength(rope, config)
  const by = (key: string) => {
    const factors = rope.numbers(key, powers.length)
    return powers.map((power, n) => fround(1 / fround(fround(factors[n]!) * power)))
  }
  const factor = rope.has('factor') ? rope.positive('factor') : config.size('max_position_embeddings') / over
  const usual = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(over))
  const scale = rope.positive('attention_factor', usual)
  return { width, scale, frequencies: by('short_factor'), long: { over, frequencies: by('long_factor') } }
}

function originalLength(rope: ConfigReader, config: ConfigReader): number {
  const key = 'original_max_position_embeddings'
  return config.has(key) ? config.size(key) : rope.size(key, config.size('max_position_embeddings'))
}

/**
 * The number of tokens from which on all of a sequence is turned in another way than before, so that what is cached counts no more;
 * undefined for a model without such a change. @throws AssetError 'BAD_INPUT'
 */
export function turnChange(config: ConfigReader): number | undefined {
  const rope = config.object('rope_scaling') ?? config.object('rope_parameters')
  return rope && typeOf(rope) === 'longrope' ? originalLength(rope, config) : undefined
}
