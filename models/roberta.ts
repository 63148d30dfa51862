import type { Module, Value } from '../src/graph/build.js'
import { embedding } from '../src/graph/modules.js'
import { bertFamily } from './bert.js'

/** RoBERTa and the sentence encoders made of it: BERT that counts the tokens of a text that are no padding, from the one after the padding's id. */
export const roberta = bertFamily('roberta', { vocab: 50265 }, (module, config, ids, hidden) => {
  const padding = config.count('pad_token_id', 1)
  const places = countedFrom(module, ids, padding)
  return embedding(module, places, config.size('max_position_embeddings', 512), hidden)
})

/** ids (batch, sequence) -> for each the number of those up to it that are not `padding`, plus `padding`; `padding` for one that is. */
function countedFrom(module: Module, ids: Value, padding: number): Value {
  const dims = ['batch', 'sequence'] as const
  const absent = module.op('Equal', [ids, module.integer(padding)], {}, { dtype: 'BOOL', dims })
  const real = module.op('Sub', [module.integer(1), module.cast(absent, 'I64')], {}, { dims })
  const length = module.op('Squeeze', [module.op('Shape', [ids], { start: 1n, end: 2n }, { dims: [1] })], {}, { dims: [] })
  const all = module.op('Range', [module.integer(0), length, module.integer(1)], {}, { dims: ['sequence'] })
  const column = module.op('Unsqueeze', [all, module.integers(1)], {}, { dims: ['sequence', 1] })
  // Counted through a square of who comes before whom: the native engine has no running sums, and texts are short.
  const before = module.op('LessOrEqual', [all, column], {}, { dtype: 'BOOL', dims: ['sequence', 'sequence'] })
  const ones = module.op('Unsqueeze', [module.cast(real, 'BOOL'), module.integers(1)], {}, { dims: ['batch', 1, 'sequence'] })
  const counted = module.cast(module.op('And', [ones, before], {}, { dims: ['batch', 'sequence', 'sequence'] }), 'F32')
  const sum = module.op('ReduceSum', [counted, module.integers(-1)], { keepdims: 0n }, { dims })
  const places = module.op('Mul', [module.cast(sum, 'I64'), real])
  return module.op('Add', [places, module.integer(padding)])
}
