import { join } from 'node:path'
import { AssetError } from '../core/errors.js'
import { parseJsonObject } from '../core/json.js'
import { LIMITS } from '../core/limits.js'
import { compareUtf8, isSafePath } from '../core/paths.js'
import { type Checkpoint, entriesOf, readSourceFile, type SourceFile, sourceFileAt, type TensorRef } from './checkpoint.js'
import { openSafetensors, readTensors } from './read-tensors.js'

/** What weights are called in a folder, whole or as the index of their shards; the first that is there is taken. */
const WEIGHTS = [
  { single: 'model.safetensors', index: 'model.safetensors.index.json', read: openSafetensors },
  { single: 'pytorch_model.bin', index: 'pytorch_model.bin.index.json', read: readTensors },
]

/** Taken where there is none of these; the first that is there. */
const OTHERS = ['model.onnx', 'model.json'] as const

/** The files of a checkpoint that an asset carries along, byte for byte; nothing else is copied. */
const COPIED = new Set([
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'vocab.txt',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'chat_template.json',
  'preprocessor_config.json',
  'processor_config.json',
  'modules.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
  'README.md',
])
const COPIED_NESTED = ['1_Pooling/config.json']
const LICENSES = /^(LICENSE|NOTICE)[A-Za-z0-9._-]*$/

/**
 * Opens a Hugging Face folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names, else
 * `pytorch_model.bin` or its shards, else `model.onnx`, else the TensorFlow.js model of a `model.json`. Reads headers only.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'MISSING' | 'CORRUPT' | 'IO'
 */
export async function openHuggingFace(folder: string): Promise<Checkpoint> {
  const names = (await entriesOf(folder)).map(({ name }) => name)
  const weights = WEIGHTS.find(({ single, index }) => names.includes(single) || names.includes(index))
  const other = weights ? undefined : OTHERS.find((name) => names.includes(name))
  if (other) {
    const path = join(folder, other)
    const { copies, ...model } = await (other === 'model.onnx'
      ? import('./onnx/read.js').then(({ openOnnx }) => openOnnx(path))
      : import('./tfjs/read.js').then(({ openTfjs }) => openTfjs(path)))
    return { ...model, folder, copies: new Map([...(await copiedFiles(folder)), ...copies]) }
  }
  if (!weights) {
    const known = [...WEIGHTS.flatMap(({ single, index }) => [single, index]), ...OTHERS].join(', ')
    throw new AssetError(
      'NOT_FOUND',
      `Cannot open the checkpoint ${folder}: it has none of ${known}; save the model with save_pretrained() of transformers, or name a file of weights`,
    )
  }
  const { single, index, read } = weights
  const tensors = names.includes(single) ? await read(join(folder, single)) : await readShards(folder, index, (path) => read(path, true))
  return { folder, tensors, copies: await copiedFiles(folder) }
}

/**
 * The files of a folder that an asset carries along. What has the name of one must be a file: were a pipe, a folder or a
 * link to nowhere left out, the asset would lack it without a word. A folder of licences is none.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' where it is not | 'LIMIT' | 'IO'
 */
export async function copiedFiles(folder: string): Promise<Map<string, SourceFile>> {
  const copies = new Map<string, SourceFile>()
  const paths: string[] = []
  for (const { name, isFolder } of await entriesOf(folder)) {
    if (COPIED.has(name) || (LICENSES.test(name) && !isFolder)) paths.push(name)
    const nested = COPIED_NESTED.filter((path) => path.startsWith(`${name}/`))
    if (nested.length === 0) continue
    const inside = new Set((await entriesOf(join(folder, name))).map((entry) => entry.name))
    paths.push(...nested.filter((path) => inside.has(path.slice(name.length + 1))))
  }
  for (const path of paths.sort(compareUtf8)) {
    const file = await sourceFileAt(join(folder, path))
    if (file.size > LIMITS.json)
      throw new AssetError('LIMIT', `Cannot copy ${file.path}: it has ${file.size} bytes, the limit is ${LIMITS.json}`)
    copies.set(path, file)
  }
  return copies
}

async function readShards(
  folder: string,
  index: string,
  read: (path: string) => Promise<ReadonlyMap<string, TensorRef>>,
): Promise<Map<string, TensorRef>> {
  const path = join(folder, index)
  const map = parseJsonObject(await readSourceFile(path, LIMITS.json), path).weight_map
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new AssetError('BAD_INPUT', `Cannot read ${path}: it has no weight_map`)
  const shardOf = new Map<string, string>()
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !isSafePath(shard)) {
      throw new AssetError(
        'BAD_INPUT',
        `Cannot read ${path}: tensor ${JSON.stringify(tensor.slice(0, 80))} names the unsafe shard ${JSON.stringify(shard)}`,
      )
    }
    shardOf.set(tensor, shard)
  }
  const shards = new Set(shardOf.values())
  if (shards.size > LIMITS.shards)
    throw new AssetError('LIMIT', `Cannot read ${path}: it names ${shards.size} shards, the limit is ${LIMITS.shards}`)
  const opened = new Map<string, ReadonlyMap<string, TensorRef>>()
  for (const shard of shards) opened.set(shard, await read(join(folder, shard)))
  const tensors = new Map<string, TensorRef>()
  for (const [tensor, shard] of shardOf) {
    const ref = opened.get(shard)!.get(tensor)
    if (!ref)
      throw new AssetError(
        'MISSING',
        `Cannot read ${path}: tensor ${JSON.stringify(tensor)} is not in its shard ${shard}; get the checkpoint again`,
      )
    tensors.set(tensor, ref)
  }
  return tensors
}
