// How text is cut before pairs of a byte-level BPE are merged, by the name that llama.cpp has for it. The patterns are those of the
// models' own tokenizer.json.

type Json = Record<string, unknown>

const split = (Regex: string): Json => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })
const byteLevel = (useRegex: boolean): Json => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
})
const sequence = (...pretokenizers: readonly Json[]): Json => ({ type: 'Sequence', pretokenizers })

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const words = (digits: string) =>
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`

const PLAIN = byteLevel(true)
const SINGLE_DIGITS = sequence({ type: 'Digits', individual_digits: true }, byteLevel(true))
const LLAMA3 = sequence(split(words('{1,3}')), byteLevel(false))
const QWEN2 = sequence(split(words('')), byteLevel(false))

/** How text is cut, whether it is normalised to NFC before, and whether a piece that is a token is taken as such without merging. */
export interface PreTokenizer {
  readonly rule: Json
  readonly nfc?: boolean
  readonly whole?: boolean
}

const KNOWN: Readonly<Record<string, PreTokenizer>> = {
  'gpt-2': { rule: PLAIN },
  gpt2: { rule: PLAIN },
  'phi-2': { rule: PLAIN },
  olmo: { rule: PLAIN, nfc: true },
  smollm: { rule: SINGLE_DIGITS },
  starcoder: { rule: SINGLE_DIGITS },
  refact: { rule: SINGLE_DIGITS },
  'command-r': { rule: SINGLE_DIGITS },
  'llama-bpe': { rule: LLAMA3, whole: true },
  'llama-v3': { rule: LLAMA3, whole: true },
  llama3: { rule: LLAMA3, whole: true },
  'smaug-bpe': { rule: LLAMA3 },
  dbrx: { rule: LLAMA3 },
  qwen2: { rule: QWEN2, nfc: true },
  'deepseek-r1-qwen': { rule: QWEN2 },
}

/** The rule that a file names; undefined for one that is not known, since a wrong one would give wrong tokens without a word. */
export function preTokenizer(name: string | undefined): PreTokenizer | undefined {
  return name !== undefined && Object.hasOwn(KNOWN, name) ? KNOWN[name] : undefined
}
