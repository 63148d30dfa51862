import { AssetError, throwIfAborted } from '../core/errors.js'
import { makeSampler, type SamplingOptions } from '../text/sampling.js'
import { StopTexts, TextStream } from '../text/text-stream.js'
import type { Message, Tokenizer } from '../text/tokenizer.js'
import type { LoadedModel } from './loaded-model.js'

/** Text, a conversation, or token ids. */
export type Prompt = string | readonly Message[] | readonly number[]

/** How text is generated; everything has a default. */
export interface GenerateOptions extends SamplingOptions {
  /** at most so many new tokens; default 256, or `max_new_tokens` of generation_config.json */
  readonly maxTokens?: number | undefined
  /** texts that end the generation; they are not part of it */
  readonly stop?: string | readonly string[] | undefined
  /** go on after an end-of-sequence token */
  readonly ignoreEos?: boolean | undefined
  /** tokens of the prompt in one pass; default 512 */
  readonly promptChunk?: number | undefined
}

/** One generated token, and the text that it adds. */
export interface Generated {
  readonly tokenId: number
  readonly text: string
}

/** What generation needs of a model's own files. */
export interface TextFiles {
  readonly tokenizer: Tokenizer | undefined
  readonly config: Readonly<Record<string, unknown>>
  readonly generation: Readonly<Record<string, unknown>>
}

/** Runs passes one after the other, first come first served; so several generations take turns token by token. */
export class PassQueue {
  private tail: Promise<unknown> = Promise.resolve()

  run<T>(pass: () => Promise<T>): Promise<T> {
    const result = this.tail.then(pass)
    this.tail = result.catch(() => undefined)
    return result
  }
}

/**
 * Generates token by token. Ends at `maxTokens`, an end-of-sequence token, a stop text, or the model's context length;
 * however it ends, the cache is freed.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'ABORTED' and those of the forward pass
 */
export async function* generate(
  model: LoadedModel,
  files: TextFiles,
  queue: PassQueue,
  prompt: Prompt,
  options: GenerateOptions,
  signal: AbortSignal,
  onBytes: (difference: number) => void,
): AsyncGenerator<Generated> {
  const ids = promptIds(model, files, prompt)
  const { maxTokens, eos, stops, sampler, chunk } = settings(files, options)
  const room = Number(files.config.max_position_embeddings ?? files.config.n_positions ?? Number.POSITIVE_INFINITY)
  if (ids.length >= room)
    throw new AssetError('BAD_INPUT', `Cannot generate: the prompt has ${ids.length} tokens, the model's context ${room}; shorten it`)
  const stream = files.tokenizer && new TextStream(files.tokenizer, ids)
  const stopper = new StopTexts(stops)
  const session = model.session()
  let bytes = 0
  const count = (now: number) => {
    onBytes(now - bytes)
    bytes = now
  }
  const pass = (some: readonly number[]) =>
    queue.run(async () => {
      throwIfAborted(signal, 'generate')
      const logits = await session.pass(some, { signal })
      count(session.bytes)
      return logits
    })
  try {
    let pending = ids
    for (let made = 0; made < maxTokens && ids.length + made < room; made++) {
      let logits: Float32Array | undefined
      for (let at = 0; at < pending.length; at += chunk) logits = await pass(pending.slice(at, at + chunk))
      const tokenId = sampler(logits!)
      if (eos.has(tokenId)) break
      const text = stopper.push(stream?.push(tokenId) ?? '')
      const ends = stopper.stopped || made + 1 === maxTokens || ids.length + made + 1 >= room
      yield { tokenId, text: ends ? text + (stopper.stopped ? '' : stopper.push(stream?.end() ?? '') + stopper.end()) : text }
      if (stopper.stopped) return
      pending = [tokenId]
    }
  } finally {
    session.free()
    count(0)
  }
}

function promptIds(model: LoadedModel, { tokenizer, config }: TextFiles, prompt: Prompt): number[] {
  if (!model.index.outputs.some(({ name }) => name === 'logits'))
    throw new AssetError('UNSUPPORTED', `Cannot generate with ${model.asset.where}: it is not a language model; use embed or run`)
  const asIds = typeof prompt !== 'string' && (prompt as readonly unknown[]).every((item) => typeof item === 'number')
  let ids: number[]
  if (asIds) ids = [...(prompt as readonly number[])]
  else if (!tokenizer) throw new AssetError('MISSING', `Cannot read the prompt: ${model.asset.where} has no tokenizer.json; give token ids`)
  else ids = typeof prompt === 'string' ? tokenizer.encode(prompt) : tokenizer.encode(tokenizer.render(prompt as readonly Message[]), false)
  if (ids.length === 0) throw new AssetError('BAD_INPUT', 'Cannot generate: the prompt is empty')
  const vocabulary = Number(config.vocab_size ?? Number.MAX_SAFE_INTEGER)
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary)
  if (bad !== undefined)
    throw new AssetError('BAD_INPUT', `Cannot generate: the prompt holds the token id ${bad}; ids are whole numbers below ${vocabulary}`)
  return ids
}

function settings({ config, generation }: TextFiles, options: GenerateOptions) {
  const { maxTokens = Number(generation.max_new_tokens ?? 256), stop = [], ignoreEos = false, promptChunk: chunk = 512 } = options
  if (!Number.isInteger(maxTokens) || maxTokens < 0 || maxTokens > 2 ** 31)
    throw new AssetError('BAD_INPUT', `Cannot generate: maxTokens is ${maxTokens}; give a whole number from 0`)
  if (!Number.isInteger(chunk) || chunk < 1)
    throw new AssetError('BAD_INPUT', `Cannot generate: promptChunk is ${chunk}; give a whole number from 1`)
  const stops = typeof stop === 'string' ? [stop] : [...stop]
  if (stops.some((text) => typeof text !== 'string' || text === ''))
    throw new AssetError('BAD_INPUT', 'Cannot generate: a stop text is empty')
  const ends = ignoreEos ? [] : [generation.eos_token_id ?? config.eos_token_id ?? []].flat()
  const sampled = generation.do_sample === true
  const fallback = (key: string) => (sampled && typeof generation[key] === 'number' ? generation[key] : undefined)
  const sampler = makeSampler({
    temperature: options.temperature ?? fallback('temperature') ?? (sampled ? 1 : 0),
    topK: options.topK ?? fallback('top_k'),
    topP: options.topP ?? fallback('top_p'),
    seed: options.seed,
  })
  return { maxTokens, stops, chunk, sampler, eos: new Set(ends as number[]) }
}
