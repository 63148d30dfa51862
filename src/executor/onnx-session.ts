import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import type { Logits } from '../engines/engine.js'
import type { Values } from './feeds.js'
import type { PassOptions, Session } from './loaded-model.js'

/** Keys and values as graph outputs that are inputs of the next pass. */
export class OnnxSession implements Session {
  private past: Values = new Map()
  bytes = 0

  constructor(private readonly run: (feeds: Values, logits: Logits, options: PassOptions) => Promise<Values>) {}

  async extend(ids: readonly number[], options: PassOptions): Promise<void> {
    await this.take(ids, 'none', options)
  }

  async pass(ids: readonly number[], options: PassOptions): Promise<Float32Array> {
    return lastLogits((await this.take(ids, 'last', options)).get('logits'))
  }

  private async take(ids: readonly number[], logits: Logits, options: PassOptions): Promise<Values> {
    const feeds = new Map(this.past)
    feeds.set('input_ids', new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]))
    const outputs = await this.run(feeds, logits, options)
    const present = [...outputs].filter(([name]) => name.startsWith('present.'))
    this.past = new Map(present.map(([name, tensor]) => [name.replace('present.', 'past_key_values.'), tensor]))
    this.bytes = [...this.past.values()].reduce((sum, tensor) => sum + tensor.size * 4, 0)
    return outputs
  }

  free(): void {
    this.past = new Map()
    this.bytes = 0
  }
}

/** The last rows of logits (rows, sequence, vocabulary), of one sequence unless said otherwise. @throws AssetError 'UNSUPPORTED' where the model gives something else by that name */
export function lastLogits(logits: Tensor | undefined, rows = 1): Float32Array {
  const [batch, sequence, vocabulary] = logits?.dims ?? []
  if (logits?.type !== 'float32' || logits.dims.length !== 3 || batch !== rows || !sequence || !vocabulary)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot generate: the model's logits are ${logits ? `${logits.type} [${logits.dims}]` : 'missing'}, expected float32 [${rows},sequence,vocabulary]; use run`,
    )
  return (logits.data as Float32Array).subarray(-rows * vocabulary)
}
