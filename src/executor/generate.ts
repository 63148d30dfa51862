import { ConfigReader } from '../../models/config.js'
import { turnChange } from '../../models/turn.js'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { makeSampler, type Sampler, type SamplingOptions } from '../text/sampling.js'
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

type Json = Readonly<Record<string, unknown>>

/** What generation needs of a model's own files. */
export interface TextFiles {
  readonly tokenizer: Tokenizer | undefined
  readonly config: Json
  readonly generation: Json
}

/** A whole number above 0 out of a model's file; undefined where it has none or says null. @throws AssetError 'BAD_INPUT' for anything else */
export function positive(json: Json, key: string, file = 'config.json'): number | undefined {
  const value = json[key] ?? undefined
  if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) > 0))
    throw new AssetError(
      'BAD_INPUT',
      `Cannot run the model: ${key} is ${JSON.stringify(value).slice(0, 80)}, expected a whole number above 0; mend ${file}`,
    )
  return value as number | undefined
}

/**
 * Generates token by token. Ends at `maxTokens`, an end-of-sequence token, a stop text, or the model's context length;
 * however it ends, the cache is freed.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'ABORTED' and those of the forward pass
 */
export async function* generate(
  model: LoadedModel,
  files: TextFiles,
  prompt: Prompt,
  options: GenerateOptions,
  signal: AbortSignal,
  onBytes: (difference: number) => void,
): AsyncGenerator<Generated> {
  const ids = await promptIds(model, files, prompt)
  const { maxTokens, eos, stops, sampler, chunk } = settings(files, options)
  if (stops.length > 0 && !files.tokenizer)
    throw new AssetError('MISSING', `Cannot look for stop texts: ${model.asset.where} has no tokenizer.json or was loaded without it`)
  const room = roomOf(files.config)
  if (ids.length >= room)
    throw new AssetError('BAD_INPUT', `Cannot generate: the prompt has ${ids.length} tokens, the model's context ${room}; shorten it`)
  let session = model.session()
  // What a model with an encoder is asked is no part of what it writes.
  const first = session.encode ? [decoderStart(files)] : ids
  const stream = files.tokenizer && new TextStream(files.tokenizer, first)
  const stopper = new StopTexts(stops)
  const change = session.encode ? Number.POSITIVE_INFINITY : (turnChange(new ConfigReader(files.config)) ?? Number.POSITIVE_INFINITY)
  let bytes = 0
  const count = (now: number) => {
    onBytes(now - bytes)
    bytes = now
  }
  const after = async <T>(work: Promise<T>) => {
    const result = await work
    throwIfAborted(signal, 'generate')
    count(session.bytes)
    return result
  }
  try {
    if (maxTokens > 0 && session.encode) await after(session.encode(ids, { signal }))
    const all = [...first]
    let pending = first
    for (let made = 0; made < maxTokens && all.length < room; made++) {
      // Beyond this length all tokens are turned in another way: what is cached counts no more, and one pass has to see them all.
      const isAnew = all.length > change && all.length - pending.length <= change
      if (isAnew) {
        session.free()
        session = model.session()
        pending = [...all]
      }
      let at = 0
      for (; !isAnew && at + chunk < pending.length; at += chunk) await after(session.extend(pending.slice(at, at + chunk), { signal }))
      const tokenId = sampler(await after(session.pass(pending.slice(at), { signal })))
      if (eos.has(tokenId)) break
      const text = stopper.push(stream?.push(tokenId) ?? '')
      const ends = stopper.stopped || made + 1 === maxTokens || all.length + 1 >= room
      yield { tokenId, text: ends ? text + (stopper.stopped ? '' : stopper.push(stream?.end() ?? '') + stopper.end()) : text }
      if (stopper.stopped) return
      pending = [tokenId]
      all.push(tokenId)
    }
  } finally {
    session.free()
    count(0)
  }
}

/** Positions that a model has. @throws AssetError 'BAD_INPUT' */
function roomOf(config: Json): number {
  // T5 knows positions by their distance; its n_positions is what it was trained on.
  if (config.model_type === 't5') return Number.POSITIVE_INFINITY
  return positive(config, 'max_position_embeddings') ?? positive(config, 'n_positions') ?? Number.POSITIVE_INFINITY
}

/** The token that a decoder begins with. @throws AssetError 'BAD_INPUT' where the model's files give none */
function decoderStart({ config, generation }: TextFiles): number {
  const keys = ['decoder_start_token_id', 'bos_token_id', 'pad_token_id']
  const start = keys.flatMap((key) => [generation[key] ?? config[key] ?? []].flat())[0]
  const vocabulary = positive(config, 'vocab_size') ?? Number.MAX_SAFE_INTEGER
  if (!Number.isSafeInteger(start) || (start as number) < 0 || (start as number) >= vocabulary)
    throw new AssetError(
      'BAD_INPUT',
      `Cannot generate: decoder_start_token_id is ${JSON.stringify(start) ?? 'missing'}, not a token id; mend generation_config.json`,
    )
  return start as number
}

async function promptIds(model: LoadedModel, { tokenizer, config }: TextFiles, prompt: Prompt): Promise<number[]> {
  if (!model.index.outputs.some(({ name }) => name === 'logits'))
    throw new AssetError('UNSUPPORTED', `Cannot generate with ${model.asset.where}: it is not a language model; use embed or run`)
  const asIds = typeof prompt !== 'string' && prompt.every((item) => typeof item === 'number')
  let ids: number[]
  if (asIds) ids = [...(prompt as readonly number[])]
  else if (!tokenizer)
    throw new AssetError(
      'MISSING',
      `Cannot read the prompt: ${model.asset.where} has no tokenizer.json or was loaded without it; give token ids`,
    )
  else if (typeof prompt === 'string') ids = tokenizer.encode(prompt)
  else ids = tokenizer.encode(await tokenizer.render(prompt as readonly Message[]), false)
  if (ids.length === 0) throw new AssetError('BAD_INPUT', 'Cannot generate: the prompt is empty')
  const vocabulary = positive(config, 'vocab_size') ?? Number.MAX_SAFE_INTEGER
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary)
  if (bad !== undefined)
    throw new AssetError('BAD_INPUT', `Cannot generate: the prompt holds the token id ${bad}; ids are whole numbers below ${vocabulary}`)
  return ids
}

function settings({ config, generation }: TextFiles, options: GenerateOptions) {
  const own = positive(generation, 'max_new_tokens', 'generation_config.json')
  const { maxTokens = own ?? 256, stop = [], ignoreEos = false, promptChunk: chunk = 512 } = options
  if (!Number.isInteger(maxTokens) || maxTokens < 0 || maxTokens > 2 ** 31)
    throw new AssetError('BAD_INPUT', `Cannot generate: maxTokens is ${maxTokens}; give a whole number from 0`)
  if (!Number.isInteger(chunk) || chunk < 1)
    throw new AssetError('BAD_INPUT', `Cannot generate: promptChunk is ${chunk}; give a whole number from 1`)
  const stops: unknown[] = Array.isArray(stop) ? stop : [stop]
  if (!stops.every((text) => typeof text === 'string' && text !== ''))
    throw new AssetError('BAD_INPUT', 'Cannot generate: a stop text is empty or no text; give a text or a list of them')
  return {
    maxTokens,
    stops: stops as string[],
    chunk,
    sampler: samplerOf(generation, options),
    eos: ignoreEos ? new Set<number>() : endsOf(config, generation),
  }
}

/** How to draw: as asked for, else as generation_config.json says, where a top_k of 0 means none. */
function samplerOf(generation: Json, options: GenerateOptions): Sampler {
  const sampled = generation.do_sample === true
  const fallback = (key: string) => (sampled && typeof generation[key] === 'number' ? generation[key] : undefined)
  const own = { temperature: fallback('temperature') ?? (sampled ? 1 : 0), topK: fallback('top_k') || undefined, topP: fallback('top_p') }
  const asked = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  try {
    makeSampler(own)
  } catch (cause) {
    throw new AssetError('BAD_INPUT', `Cannot generate as generation_config.json says: ${(cause as Error).message}`, { cause })
  }
  return makeSampler({ ...own, ...asked })
}

/** The tokens that end a text. @throws AssetError 'BAD_INPUT' where the files give none that is a token */
function endsOf(config: Json, generation: Json): Set<number> {
  const ends = [generation.eos_token_id ?? config.eos_token_id ?? []].flat()
  const bad = ends.find((id) => !Number.isSafeInteger(id) || (id as number) < 0)
  if (bad !== undefined)
    throw new AssetError(
      'BAD_INPUT',
      `Cannot generate: eos_token_id is ${JSON.stringify(bad)}, not a token id; mend generation_config.json`,
    )
  return new Set(ends as number[])
}
