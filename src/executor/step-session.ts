import { Tensor } from 'onnxruntime-common'
import type { NativeSession } from '../engines/native/addon.js'
import type { Values } from './feeds.js'
import type { PassOptions, Session } from './loaded-model.js'
import { lastLogits } from './logits.js'

/** Keys and values: those of ONNX Runtime as graph outputs that are inputs of the next pass, those of the native engine in its own caches. */
export class StepSession implements Session {
  private past: Values = new Map()
  private length = 0

  /** `run` makes a pass over the feeds after `past` positions. */
  constructor(
    private readonly native: NativeSession | undefined,
    private readonly run: (feeds: Values, past: number, options: PassOptions) => Promise<Values>,
  ) {}

  get bytes(): number {
    return [...this.past.values()].reduce((sum, tensor) => sum + tensor.size * 4, this.native?.bytes ?? 0)
  }

  async pass(ids: readonly number[], options: PassOptions): Promise<Float32Array> {
    const feeds = new Map(this.past)
    feeds.set('input_ids', new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]))
    try {
      const outputs = await this.run(feeds, this.length, options)
      const logits = lastLogits(outputs.get('logits'))
      const present = [...outputs].filter(([name]) => name.startsWith('present.'))
      this.past = new Map(present.map(([name, tensor]) => [name.replace('present.', 'past_key_values.'), tensor]))
      this.length += ids.length
      return logits
    } catch (error) {
      // Some segments may have appended already.
      this.native?.truncate(this.length)
      throw error
    }
  }

  free(): void {
    this.past = new Map()
    this.native?.free()
  }
}
