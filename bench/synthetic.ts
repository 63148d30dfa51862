import { randomFillSync } from 'node:crypto'
import { mkdir, mkdtemp, open, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A Llama shape with random BF16 weights: every size in elements. */
export interface Shape {
  readonly hidden: number
  readonly inner: number
  readonly layers: number
  readonly vocab: number
  /** heads of keys and values, each 64 wide; as many as of queries when left out */
  readonly kvHeads?: number
  /** the output head is the embedding */
  readonly tied?: boolean
}

/** The shape of Llama-3.2-1B: 1.24 billion parameters. */
export const LLAMA_1B: Shape = { hidden: 2048, inner: 8192, layers: 16, vocab: 128_256, kvHeads: 8, tied: true }

/** A temporary folder for a bench that needs `bytes` of disk; removed when the call ends. */
export async function withFolder<T>(bytes: number, use: (folder: string) => Promise<T>): Promise<T> {
  const { bavail, bsize } = await statfs(tmpdir())
  if (bavail * bsize < bytes * 1.2) throw new Error(`this bench needs ${Math.ceil(bytes / 1e9)} GB of free disk in ${tmpdir()}`)
  const folder = await mkdtemp(join(tmpdir(), 'masset-bench-'))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The weights of a shape: names and dimensions. */
function tensorsOf({ hidden, inner, layers, vocab, kvHeads = hidden / 64, tied = false }: Shape): [string, number[]][] {
  const tensors: [string, number[]][] = [
    ['model.embed_tokens.weight', [vocab, hidden]],
    ['model.norm.weight', [hidden]],
  ]
  if (!tied) tensors.push(['lm_head.weight', [vocab, hidden]])
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`
    for (const name of ['q_proj', 'o_proj']) tensors.push([`${at}.self_attn.${name}.weight`, [hidden, hidden]])
    for (const name of ['k_proj', 'v_proj']) tensors.push([`${at}.self_attn.${name}.weight`, [kvHeads * 64, hidden]])
    for (const name of ['gate_proj', 'up_proj']) tensors.push([`${at}.mlp.${name}.weight`, [inner, hidden]])
    tensors.push(
      [`${at}.mlp.down_proj.weight`, [hidden, inner]],
      [`${at}.input_layernorm.weight`, [hidden]],
      [`${at}.post_attention_layernorm.weight`, [hidden]],
    )
  }
  return tensors
}

const product = (dims: readonly number[]) => dims.reduce((all, dim) => all * dim, 1)

/** How many weights a shape has. */
export function parametersOf(shape: Shape): number {
  return tensorsOf(shape).reduce((sum, [, dims]) => sum + product(dims), 0)
}

/** A tensor of BF16 that is made up: ones, or random with the exponent held down, so that it is finite and about as large as real ones. */
export interface MadeUp {
  readonly name: string
  readonly dims: readonly number[]
  /** values are between 2 ** exponent and twice that, of either sign; 1 where left out */
  readonly exponent?: number
}

/** Writes a checkpoint of these tensors; resolves to the bytes of its weights. The config comes last: what has one is whole. */
export async function writeCheckpoint(folder: string, tensors: readonly MadeUp[], config: object): Promise<number> {
  const header: Record<string, object> = {}
  let end = 0
  for (const { name, dims } of tensors) {
    const bytes = 2 * product(dims)
    header[name] = { dtype: 'BF16', shape: dims, data_offsets: [end, end + bytes] }
    end += bytes
  }
  await mkdir(folder, { recursive: true })
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.byteLength))
  const handle = await open(join(folder, 'model.safetensors'), 'w')
  await handle.write(Buffer.concat([length, json]))
  const chunk = new Uint16Array(8 * 1024 * 1024)
  for (const { dims, exponent } of tensors) {
    for (let left = product(dims); left > 0; left -= chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, left))
      if (exponent === undefined) part.fill(127 << 7)
      else {
        randomFillSync(part)
        // sign and mantissa random
        for (let i = 0; i < part.length; i++) part[i] = (part[i]! & 0x807f) | ((127 + exponent) << 7)
      }
      await handle.write(new Uint8Array(part.buffer, 0, part.byteLength))
    }
  }
  await handle.close()
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  return end
}

/** Writes a checkpoint of this shape; resolves to the bytes of its weights. */
export function writeLlama(folder: string, shape: Shape): Promise<number> {
  const { hidden, inner, layers, vocab, kvHeads = hidden / 64, tied = false } = shape
  const config = {
    model_type: 'llama',
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: hidden / 64,
    num_key_value_heads: kvHeads,
    head_dim: 64,
    vocab_size: vocab,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 2048,
    tie_word_embeddings: tied,
  }
  return writeCheckpoint(
    folder,
    tensorsOf(shape).map(([name, dims]) => ({ name, dims, exponent: -6 })),
    config,
  )
}
