import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { fragment, inspect } from '../../src/api/index.js'
import { fromF16 } from '../../src/asset/convert/half.js'
import { decodePacked } from '../../src/asset/convert/packed/decode.js'
import { PACKED, type PackedType } from '../../src/sources/gguf/types.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { randomOf } from '../random.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'
import { gguf, packed, TYPES } from '../sources/gguf-files.js'
import { hasModules, runScript } from './python.js'

const TYPE_NAMES = Object.keys(PACKED) as PackedType[]

describe.runIf(hasModules('gguf', 'numpy'))('weights that GGUF packs, against the gguf package', () => {
  async function oracle(file: string, folder: string): Promise<Uint32Array> {
    runScript('gguf-oracle.py', [file, `${folder}/floats`])
    const bytes = await readFile(`${folder}/floats`)
    return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  }

  it.each(TYPE_NAMES)('%s: 10,000 rows of 256 of any bits, with scales from the smallest up, bit for bit', async (type) => {
    await using folder = await temporary()
    const rows = 10_240_000 / 256 / 4
    const data = packed(type, rows * 256, randomOf(11), 2 ** 15)
    const path = await folder.write('w.gguf', gguf({ tensors: [{ name: 'w', dims: [256, rows], type: TYPES[type], data }] }))
    const found = new Float32Array(rows * 256)
    decodePacked(type, data, found.length, found)
    const wanted = await oracle(path, folder.path)
    expect(wanted.length).toBe(found.length)
    expect(Buffer.compare(Buffer.from(found.buffer), Buffer.from(wanted.buffer))).toBe(0)
  })

  const shared = sharedModel('stories260k-gguf')
  it.runIf(shared).each(['f32', 'f16', 'q8_0', 'q4_0'])('stories260k-%s.gguf: what its asset holds is that, bit for bit', async (type) => {
    await using folder = await temporary()
    const file = `${shared}/stories260k-${type}.gguf`
    const wanted = await oracle(file, folder.path)
    await fragment(file, { out: `${folder.path}/asset` })
    const { tensors } = await openCheckpoint(file)
    const found = new Map<string, Uint32Array>()
    for (const [name, { shape }] of tensors) {
      const numbers = await heldNumbers(`${folder.path}/asset`, name, shape)
      found.set(ggufName(name), new Uint32Array(asInFile(name, numbers, shape).buffer))
    }
    const joined = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, bits]) => [...bits])
    expect(joined.length).toBe(wanted.length)
    expect(joined.findIndex((bits, at) => bits !== wanted[at])).toBe(-1)
  })
})

describe.runIf(sharedModel('tiny-llama') && hasModules('gguf', 'numpy'))('a GGUF file made by the names and orders of llama.cpp', () => {
  // A layer without positions is every fourth there, and not every second; and what is Mistral here is Llama there.
  const without = ['tiny-smollm3', 'tiny-mistral']
  const models = ['llama', 'llama3-rope', 'mistral', 'qwen2', 'qwen3', 'phi3', 'gemma2', 'gemma3', 'gpt2', 'gpt-neox', 'smollm3']
  it.each(models.map((name) => `tiny-${name}`))('%s: the fragments and the graph of its checkpoint', async (name) => {
    await using folder = await temporary()
    const [mine, theirs] = [`${folder.path}/gguf`, `${folder.path}/hf`]
    runScript('gguf-fixture.py', [sharedModel(name)!, `${folder.path}/model.gguf`])
    await fragment(`${folder.path}/model.gguf`, { out: mine })
    await fragment(sharedModel(name)!, { out: theirs })
    // Norms of Gemma are kept with 1 added there, which rounds them.
    const raised = name.startsWith('tiny-gemma') ? /norm/ : undefined
    const cids = async (asset: string) => {
      const { modules } = await inspect(asset)
      const { files } = JSON.parse(await readFile(`${asset}/asset.json`, 'utf8'))
      const graph = without.includes(name) ? undefined : files['model.onnx'].cid
      return { ...Object.fromEntries(modules.filter(({ key }) => !raised?.test(key)).map(({ key, cid }) => [key, cid])), graph }
    }
    expect(await cids(mine)).toEqual(await cids(theirs))
    if (!raised) return
    for (const { key, tensors } of (await inspect(theirs)).modules.filter(({ key }) => raised.test(key))) {
      const factors = async (asset: string) => (await heldNumbers(asset, `${key}.weight`, tensors[0]!.shape)).map((number) => 1 + number)
      expect(await factors(mine)).toEqual(await factors(theirs))
    }
  })
})

const PARTS: Record<string, string> = {
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'ffn_norm',
  q_proj: 'attn_q',
  k_proj: 'attn_k',
  v_proj: 'attn_v',
  o_proj: 'attn_output',
  gate_proj: 'ffn_gate',
  up_proj: 'ffn_up',
  down_proj: 'ffn_down',
}

function ggufName(name: string): string {
  if (name === 'model.embed_tokens.weight') return 'token_embd.weight'
  if (name === 'model.norm.weight') return 'output_norm.weight'
  const segments = name.split('.')
  return `blk.${segments[2]}.${PARTS[segments.at(-2)!]}.weight`
}

/** The two halves of each of the heads, of 8 rows, of queries and keys in turns. */
function asInFile(name: string, numbers: Float32Array, [rows, inputs]: readonly number[]): Float32Array {
  if (!/[qk]_proj/.test(name)) return numbers
  const turned = new Float32Array(numbers.length)
  for (let row = 0; row < rows!; row++) {
    const from = row - (row % 8) + (row % 2) * 4 + Math.floor((row % 8) / 2)
    turned.set(numbers.subarray(from * inputs!, (from + 1) * inputs!), row * inputs!)
  }
  return turned
}

/** A weight of an asset as float32. */
async function heldNumbers(asset: string, name: string, shape: readonly number[]): Promise<Float32Array> {
  const index = JSON.parse(await readFile(`${asset}/model.safetensors.index.json`, 'utf8'))
  const path = `${asset}/${index.weight_map[name]}`
  const held = await openCheckpoint(path)
  const bytes = await readFile(path)
  const raw = (of: string) => {
    const { offset, length } = held.tensors.get(of)!
    return new Uint8Array(bytes.subarray(offset, offset + length)).buffer
  }
  const halves = (of: string) => Float32Array.from(new Uint16Array(raw(of)), fromF16)
  const { dtype } = held.tensors.get(name)!
  if (dtype === 'F32') return new Float32Array(raw(name))
  if (dtype === 'F16') return halves(name)
  const scales = halves(`${name}_scale`)
  const whole = new Int8Array(raw(name))
  const number = (at: number) => (dtype === 'I8' ? whole[at]! : ((whole[at >> 1]! >> ((at & 1) * 4)) << 28) >> 28)
  return Float32Array.from({ length: shape[0]! * shape[1]! }, (_, at) => number(at) * scales[at >> 5]!)
}
