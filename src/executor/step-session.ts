import { Tensor } from 'onnxruntime-common'
import type { Logits } from '../engines/engine.js'
import type { NativeSession } from '../engines/native/addon.js'
import type { Values } from './feeds.js'
import type { PassOptions, Session } from './loaded-model.js'
import { lastLogits } from './logits.js'

/** Keys and values: those of ONNX Runtime as graph outputs that are inputs of the next pass, those of the native engine in its own caches. */
export class StepSession implements Session {
  private past: Values = new Map()
  private length = 0

  /** `run` makes a pass over the feeds after `past` positions; `input` is what the new tokens are called there. */
  constructor(
    private readonly native: NativeSession | undefined,
    private readonly input: string,
    private readonly run: (feeds: Values, past: number, logits: Logits, options: PassOptions) => Promise<Values>,
  ) {}

  get bytes(): number {
    return [...this.past.values()].reduce((sum, tensor) => sum + tensor.size * 4, this.native?.bytes ?? 0)
  }

  async extend(ids: readonly number[], options: PassOptions): Promise<void> {
    await this.take(ids, 'none', options)
  }

  async pass(ids: readonly number[], options: PassOptions): Promise<Float32Array> {
    return lastLogits((await this.take(ids, 'last', options)).get('logits'))
  }

  private async take(ids: readonly number[], logits: Logits, options: PassOptions): Promise<Values> {
    const feeds = new Map(this.past)
    feeds.set(this.input, new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]))
    try {
      const outputs = await this.run(feeds, this.length, logits, options)
      const present = [...outputs].filter(([name]) => name.startsWith('present.'))
      this.past = new Map(present.map(([name, tensor]) => [name.replace('present.', 'past_key_values.'), tensor]))
      this.length += ids.length
      return outputs
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
