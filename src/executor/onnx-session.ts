import { Tensor } from 'onnxruntime-common'
import type { Values } from './feeds.js'
import type { PassOptions, Session } from './loaded-model.js'
import { lastLogits } from './logits.js'

/** Keys and values as graph outputs that are inputs of the next pass. */
export class OnnxSession implements Session {
  private past: Values = new Map()
  bytes = 0

  constructor(private readonly run: (feeds: Values, options: PassOptions) => Promise<Values>) {}

  async pass(ids: readonly number[], options: PassOptions): Promise<Float32Array> {
    const feeds = new Map(this.past)
    feeds.set('input_ids', new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]))
    const outputs = await this.run(feeds, options)
    const present = [...outputs].filter(([name]) => name.startsWith('present.'))
    this.past = new Map(present.map(([name, tensor]) => [name.replace('present.', 'past_key_values.'), tensor]))
    this.bytes = [...this.past.values()].reduce((sum, tensor) => sum + tensor.size * 4, 0)
    return lastLogits(outputs.get('logits'))
  }

  free(): void {
    this.past = new Map()
    this.bytes = 0
  }
}
