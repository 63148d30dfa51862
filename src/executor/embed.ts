import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import { positive, type TextFiles } from './generate.js'
import type { LoadedModel } from './loaded-model.js'

const BATCH = 32

/**
 * One vector for each text: pooled as the asset's graph says. Texts run in batches of 32 of about equal length.
 * @throws AssetError 'UNSUPPORTED' where the model is no encoder, 'MISSING' without a tokenizer, 'BAD_INPUT' for a text above the context
 */
export async function embed(
  model: LoadedModel,
  { tokenizer, config }: TextFiles,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<Float32Array[]> {
  if (!model.index.outputs.some(({ name }) => name === 'sentence_embedding'))
    throw new AssetError('UNSUPPORTED', `Cannot embed with ${model.asset.where}: it is not a sentence encoder`)
  if (!tokenizer)
    throw new AssetError('MISSING', `Cannot read the texts: ${model.asset.where} has no tokenizer.json or was loaded without it`)
  const encoded = texts.map((text, at) => ({ at, ids: tokenizer.encode(text) })).sort((a, b) => a.ids.length - b.ids.length)
  const room = positive(config, 'max_position_embeddings') ?? Number.POSITIVE_INFINITY
  const long = encoded.find(({ ids }) => ids.length > room)
  if (long)
    throw new AssetError('BAD_INPUT', `Cannot embed text ${long.at}: it has ${long.ids.length} tokens, the model takes ${room}; shorten it`)
  const vectors: Float32Array[] = new Array(texts.length)
  for (let from = 0; from < encoded.length; from += BATCH) {
    const batch = encoded.slice(from, from + BATCH)
    const width = Math.max(1, ...batch.map(({ ids }) => ids.length))
    const ids = new BigInt64Array(batch.length * width).fill(BigInt(Number(config.pad_token_id ?? 0)))
    const mask = new BigInt64Array(batch.length * width)
    for (const [row, text] of batch.entries()) {
      ids.set(BigInt64Array.from(text.ids, BigInt), row * width)
      mask.fill(1n, row * width, row * width + text.ids.length)
    }
    const dims = [batch.length, width]
    const feeds = new Map([
      ['input_ids', new Tensor('int64', ids, dims)],
      ['attention_mask', new Tensor('int64', mask, dims)],
    ])
    const outputs = await model.forward(feeds, { signal })
    const pooled = outputs.get('sentence_embedding')!
    const size = pooled.dims.at(-1)!
    for (const [row, { at }] of batch.entries()) vectors[at] = (pooled.data as Float32Array).slice(row * size, (row + 1) * size)
  }
  return vectors
}
