import { AssetError } from '../src/core/errors.js'
import type { Module, Value } from '../src/graph/build.js'
import { type Config, ConfigReader } from './config.js'

/** One way to make a vector of a sentence's tokens; by the names of sentence-transformers. */
export type PoolingMode = 'cls' | 'max' | 'mean' | 'mean_sqrt_len'

/** How an encoder makes one vector of a sentence: the modes' vectors one after the other, then scaled to length 1 if `normalize`. */
export interface Pooling {
  readonly modes: readonly PoolingMode[]
  readonly normalize: boolean
}

/** The mean over the mask, of length 1: what most sentence encoders do. */
export const MEAN: Pooling = { modes: ['mean'], normalize: true }

const KEYS: readonly (readonly [string, PoolingMode])[] = [
  ['pooling_mode_cls_token', 'cls'],
  ['pooling_mode_max_tokens', 'max'],
  ['pooling_mode_mean_tokens', 'mean'],
  ['pooling_mode_mean_sqrt_len_tokens', 'mean_sqrt_len'],
]

/**
 * Reads a sentence encoder's `1_Pooling/config.json`. The vector is scaled to length 1 unless `normalize` is false.
 * @throws AssetError 'UNSUPPORTED' for modes that need more than one pass or that nobody knows, 'BAD_INPUT' for a file without any
 */
export function readPooling(config: Config, normalize = true): Pooling {
  const reader = new ConfigReader(config)
  for (const key of Object.keys(config)) {
    if (/^pooling_mode_/.test(key) && !KEYS.some(([known]) => known === key) && reader.flag(key, false))
      throw new AssetError('UNSUPPORTED', `Cannot build the graph: ${key} is not supported`)
  }
  const modes = KEYS.filter(([key]) => reader.flag(key, false)).map(([, mode]) => mode)
  if (modes.length > 0) return { modes, normalize }
  const mode = KEYS.find(([, name]) => name === reader.text('pooling_mode', ''))?.[1]
  if (!mode) throw new AssetError('BAD_INPUT', 'Cannot build the graph: 1_Pooling/config.json names no pooling mode that is known')
  return { modes: [mode], normalize }
}

/** tokens (batch, sequence, width) and mask I64 (batch, sequence) -> `sentence_embedding` (batch, width * modes). */
export function pool(module: Module, tokens: Value, mask: Value, { modes, normalize }: Pooling, width: number): Value {
  const weights = module.op('Unsqueeze', [module.float(mask), module.integers(-1)], {}, { dims: ['batch', 'sequence', 1] })
  const vectors = modes.map((mode) => poolBy(module, mode, tokens, weights, ['batch', width]))
  const dims = ['batch', width * modes.length]
  const joined = module.op('Concat', vectors, { axis: -1n }, normalize ? { dims } : { dims, name: 'sentence_embedding' })
  if (!normalize) return joined
  const norm = module.op('ReduceL2', [joined, module.integers(-1)], { keepdims: 1n }, { dims: ['batch', 1] })
  return module.op('Div', [joined, module.op('Max', [norm, module.scalar(1e-12)])], {}, { name: 'sentence_embedding' })
}

/** weights (batch, sequence, 1) are 1 for a token and 0 for padding. */
function poolBy(module: Module, mode: PoolingMode, tokens: Value, weights: Value, dims: readonly (string | number)[]): Value {
  if (mode === 'cls') return module.op('Gather', [tokens, module.integer(0)], { axis: 1n }, { dims })
  if (mode === 'max') {
    const absent = module.op('Equal', [weights, module.scalar(0)], {}, { dtype: 'BOOL' })
    const kept = module.op(
      'Where',
      [absent, module.scalar(-1e9), tokens],
      {},
      tokens.dims ? { dtype: 'F32', dims: tokens.dims } : { dtype: 'F32' },
    )
    return module.op('ReduceMax', [kept, module.integers(1)], { keepdims: 0n }, { dims })
  }
  const sum = module.op('ReduceSum', [module.op('Mul', [tokens, weights]), module.integers(1)], { keepdims: 0n }, { dims })
  const count = module.op('ReduceSum', [weights, module.integers(1)], { keepdims: 0n }, { dims: ['batch', 1] })
  const some = module.op('Max', [count, module.scalar(1e-9)])
  return module.op('Div', [sum, mode === 'mean' ? some : module.op('Sqrt', [some])])
}
