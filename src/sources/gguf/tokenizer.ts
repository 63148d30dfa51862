import { LIMITS } from '../../core/limits.js'
import { quoted } from '../../graph/names.js'
import type { Metadata } from './metadata.js'
import { type PreTokenizer, preTokenizer } from './pre-tokenizers.js'

type Json = Record<string, unknown>

/** The files that make a tokenizer, or why there are none. */
export type TokenizerFiles = { readonly tokenizer: Json; readonly config: Json } | { readonly why: string }

// Kinds of tokens, as llama.cpp numbers them.
const [UNKNOWN, CONTROL, USER_DEFINED] = [2, 3, 4]
const SPECIALS = { bos_token: 'bos_token_id', eos_token: 'eos_token_id', unk_token: 'unknown_token_id', pad_token: 'padding_token_id' }

/** A vocabulary as the file has it. */
interface Vocabulary {
  readonly tokens: readonly string[]
  readonly types: readonly number[]
  readonly ids: ReadonlyMap<string, number>
}

/**
 * tokenizer.json and tokenizer_config.json out of the metadata: of a SentencePiece vocabulary with scores (`llama`), or of a
 * byte-level BPE with merges (`gpt2`).
 * @throws AssetError 'BAD_INPUT' for lists that don't fit each other, or a token that is there twice
 */
export function tokenizerFiles(metadata: Metadata): TokenizerFiles {
  const kind = metadata.text('tokenizer.ggml.model')
  if (kind === undefined || kind === 'none' || kind === 'no_vocab') return { why: 'the file has no tokenizer' }
  if (kind !== 'llama' && kind !== 'gpt2') return { why: `its tokenizer is ${quoted(kind)}, known are "llama" and "gpt2"` }
  const vocabulary = readVocabulary(metadata)
  if (!vocabulary) return { why: 'the file has no tokens' }
  const pre = kind === 'gpt2' ? preTokenizer(metadata.text('tokenizer.ggml.pre')) : undefined
  if (kind === 'gpt2' && !pre)
    return { why: `nothing is known of how its tokenizer cuts text, ${quoted(metadata.text('tokenizer.ggml.pre') ?? 'default')}` }
  const parts = pre ? byteLevel(metadata, vocabulary, pre) : sentencePiece(metadata, vocabulary)
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary),
      ...parts,
      post_processor: parts.post_processor ?? frame(metadata, vocabulary),
    },
    config: tokenizerConfig(metadata, vocabulary, kind === 'llama' ? 'LlamaTokenizerFast' : 'PreTrainedTokenizerFast'),
  }
}

function readVocabulary(metadata: Metadata): Vocabulary | undefined {
  const tokens = metadata.texts('tokenizer.ggml.tokens')
  if (!tokens) return undefined
  const types = metadata.numbers('tokenizer.ggml.token_type') ?? []
  if (types.length !== 0 && types.length !== tokens.length)
    throw metadata.refusal('tokenizer.ggml.token_type', 'as long as the list of tokens')
  const ids = new Map(tokens.map((token, id) => [token, id]))
  if (ids.size !== tokens.length) throw metadata.refusal('tokenizer.ggml.tokens', 'a list of tokens that differ from each other')
  return { tokens, types, ids }
}

/** SentencePiece as BPE: two tokens that together are one are merged, those of the highest score first. */
function sentencePiece(metadata: Metadata, vocabulary: Vocabulary): Json {
  const { tokens, ids, types } = vocabulary
  const scores = metadata.numbers('tokenizer.ggml.scores')
  if (scores?.length !== tokens.length) throw metadata.refusal('tokenizer.ggml.scores', 'as long as the list of tokens')
  const unknown = metadata.count('tokenizer.ggml.unknown_token_id') ?? types.indexOf(UNKNOWN)
  const prefix = metadata.flag('tokenizer.ggml.add_space_prefix') ?? true
  const space = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  return {
    normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, space] } : space,
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: tokens[unknown] ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(ids),
      merges: mergesByScore(metadata, vocabulary, scores),
    },
  }
}

/** The pairs that make a token, best token first, then those whose parts have the lower numbers: the order in which they are merged. */
function mergesByScore(metadata: Metadata, { tokens, ids }: Vocabulary, scores: readonly number[]): [string, string][] {
  const merges: [string, string][] = []
  let work = 0
  for (const id of tokens.map((_, id) => id).sort((a, b) => scores[b]! - scores[a]! || a - b)) {
    work += tokens[id]!.length ** 2
    if (work > LIMITS.mergeWork || merges.length > LIMITS.merges)
      throw metadata.beyond('the tokens of its tokenizer are too long, or too many of them are made of others')
    const characters = [...tokens[id]!]
    const pairs = characters.slice(1).flatMap((_, at): [number, number][] => {
      const [left, right] = [ids.get(characters.slice(0, at + 1).join('')), ids.get(characters.slice(at + 1).join(''))]
      return left === undefined || right === undefined ? [] : [[left, right]]
    })
    pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1])
    for (const [left, right] of pairs) merges.push([tokens[left]!, tokens[right]!])
  }
  return merges
}

function byteLevel(metadata: Metadata, { ids }: Vocabulary, { rule, nfc = false, whole = false }: PreTokenizer): Json {
  const merges = metadata.texts('tokenizer.ggml.merges')
  if (!merges) throw metadata.refusal('tokenizer.ggml.merges', 'there')
  return {
    normalizer: nfc ? { type: 'NFC' } : null,
    pre_tokenizer: rule,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: whole,
      vocab: Object.fromEntries(ids),
      merges: merges.map((pair) => pairOf(metadata, pair)),
    },
  }
}

/** `a b` taken apart; a part may begin with the space, not end with it. */
function pairOf(metadata: Metadata, pair: string): [string, string] {
  const at = pair.indexOf(' ', 1)
  if (at < 0) throw metadata.refusal('tokenizer.ggml.merges', 'a list of pairs')
  return [pair.slice(0, at), pair.slice(at + 1)]
}

function addedTokens({ tokens, types }: Vocabulary): Json[] {
  return tokens.flatMap((content, id) => {
    const type = types[id]
    if (type !== UNKNOWN && type !== CONTROL && type !== USER_DEFINED) return []
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: type !== USER_DEFINED }]
  })
}

/** What comes before and after a text: the token of its beginning and that of its end, where the file wants them. */
function frame(metadata: Metadata, { tokens }: Vocabulary): Json | null {
  const isSentencePiece = metadata.text('tokenizer.ggml.model') === 'llama'
  const wanted = (key: string, id: string, usual: boolean) => {
    const token = metadata.count(`tokenizer.ggml.${id}`)
    return (metadata.flag(`tokenizer.ggml.${key}`) ?? usual) && token !== undefined && tokens[token] !== undefined ? [token] : []
  }
  const before = wanted('add_bos_token', 'bos_token_id', isSentencePiece)
  const after = wanted('add_eos_token', 'eos_token_id', false)
  if (before.length + after.length === 0) return null
  const special = (type: number) => (id: number) => ({ SpecialToken: { id: tokens[id], type_id: type } })
  const one = (sequence: string, type: number) => [
    ...before.map(special(type)),
    { Sequence: { id: sequence, type_id: type } },
    ...after.map(special(type)),
  ]
  return {
    type: 'TemplateProcessing',
    single: one('A', 0),
    pair: [...one('A', 0), ...one('B', 1)],
    special_tokens: Object.fromEntries(
      [...before, ...after].map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  }
}

function tokenizerConfig(metadata: Metadata, { tokens }: Vocabulary, tokenizerClass: string): Json {
  const named = Object.entries(SPECIALS).flatMap(([name, key]) => {
    const id = metadata.count(`tokenizer.ggml.${key}`)
    if (id === undefined) return []
    if (id >= tokens.length) throw metadata.refusal(`tokenizer.ggml.${key}`, 'the number of a token')
    return [[name, tokens[id]!] as const]
  })
  const isSentencePiece = metadata.text('tokenizer.ggml.model') === 'llama'
  return {
    tokenizer_class: tokenizerClass,
    ...Object.fromEntries(named),
    add_bos_token: metadata.flag('tokenizer.ggml.add_bos_token') ?? isSentencePiece,
    add_eos_token: metadata.flag('tokenizer.ggml.add_eos_token') ?? false,
    clean_up_tokenization_spaces: false,
    chat_template: metadata.text('tokenizer.chat_template'),
  }
}
