import { dtypeSize } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { type Readable, readExactly } from '../../core/read.js'
import { quoted, shown } from '../../graph/names.js'
import type { Checkpoint, SourceFile, TensorRef } from '../checkpoint.js'
import { stridedOf } from '../strided.js'
import { type Architecture, architectureOf, IN_CONFIG, type NamedPart, nameIn, partOf, TABLES } from './architectures.js'
import { headsOf, type ModelFacts } from './configs.js'
import { type GgufHeader, type GgufTensor, readGgufHeader } from './header.js'
import { type HeadCounts, rowsInOrder } from './rows.js'
import { tokenizerFiles } from './tokenizer.js'
import { isPacked, PACKED } from './types.js'

// Factors of rotary frequencies: half as many as a head is wide.
const MOST_FACTORS = 32768

/**
 * Opens a GGUF file as the checkpoint of transformers that it was made of: tensors by their names there, rows in their
 * order there, config.json, generation_config.json and the tokenizer's files made of the metadata. Of an architecture that is
 * not known the tensors keep the names that they have, and nothing else is made. Reads the header, and factors of
 * positions, which config.json holds.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'CORRUPT' | 'IO'
 */
export async function openGguf(handle: Readable, file: SourceFile): Promise<Checkpoint> {
  const header = await readGgufHeader(handle, file)
  const { metadata } = header
  if ((metadata.count('split.count') ?? 1) > 1)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot read ${file.path}: it is one of ${metadata.count('split.count')} parts of a model; put them together with llama-gguf-split --merge`,
    )
  const prefix = metadata.text('general.architecture')
  const architecture = architectureOf(prefix)
  if (!architecture || prefix === undefined) {
    const note = `nothing is known of the architecture ${quoted(prefix ?? '')} of the GGUF file`
    const tensors = new Map([...header.tensors].map(([name, tensor]) => [name, refOf(tensor, file)]))
    return { folder: file.path, tensors, copies: new Map(), notes: [note] }
  }
  const facts: ModelFacts = { metadata, prefix, factors: await readFactors(handle, header, file.path) }
  const tensors = namedTensors(header, architecture, facts, file)
  const tokenizer = tokenizerFiles(metadata)
  const made = new Map([
    ['config.json', jsonBytes(configOf(architecture, facts, tensors))],
    ['generation_config.json', jsonBytes(generationConfig(facts))],
  ])
  if ('why' in tokenizer) return { folder: file.path, tensors, copies: new Map(), made, notes: [`It has no tokenizer: ${tokenizer.why}`] }
  made.set('tokenizer.json', jsonBytes(tokenizer.tokenizer))
  made.set('tokenizer_config.json', jsonBytes(tokenizer.config))
  return { folder: file.path, tensors, copies: new Map(), made }
}

function namedTensors(header: GgufHeader, architecture: Architecture, facts: ModelFacts, file: SourceFile): Map<string, TensorRef> {
  const heads = headsOf(facts)
  const tensors = new Map<string, TensorRef>()
  for (const [name, tensor] of header.tensors) {
    if (IN_CONFIG.includes(name)) continue
    const part = partOf(name)
    const known = part && nameIn(architecture, part)
    const wanted = known ?? name
    if (tensors.has(wanted))
      throw new AssetError('BAD_INPUT', `Cannot read ${file.path}: its tensor ${shown(name)} is ${shown(wanted)}, which it has already`)
    tensors.set(wanted, part && known !== undefined ? placed(architecture, part, tensor, heads, file) : refOf(tensor, file))
  }
  return tensors
}

/** A tensor as the file has it. */
function refOf({ type, shape, offset, length }: GgufTensor, file: SourceFile): TensorRef {
  if (!isPacked(type)) return { dtype: type, shape, offset, length, file }
  const elements = (length / PACKED[type].bytes) * PACKED[type].elements
  return { dtype: 'F32', shape, offset, length: elements * dtypeSize('F32'), file, packed: { type } }
}

/** A tensor with its rows, its axes and its numbers as transformers has them. */
function placed(
  { rows, turned, isRaised }: Architecture,
  { part, suffix }: NamedPart,
  tensor: GgufTensor,
  heads: HeadCounts | undefined,
  file: SourceFile,
): TensorRef {
  const plain = refOf(tensor, file)
  const { shape, packed } = plain
  if (packed && TABLES.includes(part)) return { ...plain, packed: { ...packed, table: true } }
  const raised = isRaised?.(`${part}.${suffix}`) ? { plus: -1 } : {}
  const order = rows?.[part]
  if (order !== undefined && heads && (shape.length === 2 || (shape.length === 1 && !packed))) {
    const strided = rowsInOrder(order, heads, shape[0]!, tensor.length / shape[0]!)
    return { ...plain, ...raised, ...(strided && { strided }) }
  }
  if (!turned?.includes(part) || suffix !== 'weight' || shape.length !== 2) return { ...plain, ...raised }
  const [outputs, inputs] = shape as [number, number]
  if (packed) return { ...plain, shape: [inputs, outputs], packed: { ...packed, turned: true } }
  const strided = stridedOf([inputs, outputs], [1, inputs], dtypeSize(plain.dtype))
  return { ...plain, shape: [inputs, outputs], ...(strided && { strided }) }
}

async function readFactors(handle: Readable, { tensors }: GgufHeader, what: string): Promise<Map<string, readonly number[]>> {
  const factors = new Map<string, readonly number[]>()
  for (const name of IN_CONFIG) {
    const tensor = tensors.get(name)
    if (!tensor) continue
    const { type, shape, offset, length } = tensor
    if (type !== 'F32' || shape.length !== 1 || shape[0]! > MOST_FACTORS || length === 0)
      throw new AssetError('BAD_INPUT', `Cannot read ${what}: its tensor ${name} is no list of at most ${MOST_FACTORS} F32`)
    const bytes = new Uint8Array(length)
    await readExactly(handle, bytes, offset, what)
    const view = new DataView(bytes.buffer)
    factors.set(
      name,
      Array.from({ length: shape[0]! }, (_, n) => view.getFloat32(4 * n, true)),
    )
  }
  return factors
}

function configOf(architecture: Architecture, facts: ModelFacts, tensors: ReadonlyMap<string, TensorRef>): Record<string, unknown> {
  const { modelType, className, model } = architecture
  const id = (name: string) => facts.metadata.count(`tokenizer.ggml.${name}_token_id`)
  return {
    architectures: [className],
    model_type: modelType,
    ...architecture.config(facts),
    // The table is what counts: some files say nothing, or how many tokens there were before it was filled up.
    vocab_size: tensors.get(`${model.token_embd}.weight`)?.shape[0],
    tie_word_embeddings: !tensors.has(`${model.output}.weight`),
    bos_token_id: id('bos'),
    eos_token_id: id('eos'),
    pad_token_id: id('padding'),
  }
}

/** Ends of a text are also those of a turn and of a message, where the file names them. */
function generationConfig({ metadata }: ModelFacts): Record<string, unknown> {
  const id = (name: string) => metadata.count(`tokenizer.ggml.${name}_token_id`)
  const ends = [...new Set(['eos', 'eot', 'eom'].map(id).filter((end) => end !== undefined))]
  return { bos_token_id: id('bos'), eos_token_id: ends.length > 1 ? ends : ends[0], pad_token_id: id('padding') }
}

/** As a file of a folder has it, with the keys in order. */
function jsonBytes(value: Record<string, unknown>): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`, 'utf8')
}
