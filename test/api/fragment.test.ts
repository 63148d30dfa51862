import { execFile } from 'node:child_process'
import { appendFile, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { compare, fragment, inspect, openStore, seal, verify } from '../../src/api/index.js'
import { openHuggingFace } from '../../src/sources/hf.js'
import { readSafetensorsHeader } from '../../src/sources/safetensors.js'
import { sharedModel } from '../shared.js'
import { checkpointBytes, safetensors, temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const DEMO_CID = 'bafybeifos3rhws5t5zu54ebtrpkwl4bwbc5lzngqqlkdyjnun545r7hkw4'
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

async function tensorBytes(folder: string): Promise<Map<string, Buffer>> {
  const { tensors } = await openHuggingFace(folder)
  const bytes = new Map<string, Buffer>()
  for (const [name, { file, offset, length }] of tensors) bytes.set(name, (await readFile(file.path)).subarray(offset, offset + length))
  return bytes
}

describe('fragmenting', () => {
  it('gives the known CID, every time, as a folder and in a store', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    expect((await fragment(DEMO, { store })).cid).toBe(DEMO_CID)
    expect((await fragment(DEMO, { store })).cid).toBe(DEMO_CID)
    expect((await fragment(DEMO, { out: `${folder.path}/out` })).cid).toBe(DEMO_CID)
    expect(await verify(DEMO_CID, { store })).toMatchObject({ damage: [] })
    expect(await verify(`${folder.path}/out`)).toMatchObject({ damage: [], cid: DEMO_CID })
    expect((await compare(DEMO_CID, `${folder.path}/out`, { store })).changed).toEqual([])
  })

  it('keeps every byte of every tensor, at the names of the index', async () => {
    await using folder = await temporary()
    await fragment(DEMO, { out: `${folder.path}/out` })
    // The asset folder is a sharded checkpoint itself: the index names the fragments.
    const [source, asset] = [await tensorBytes(DEMO), await tensorBytes(`${folder.path}/out`)]
    expect([...asset.keys()].sort()).toEqual([...source.keys()].sort())
    for (const [name, bytes] of source) expect(asset.get(name)!.equals(bytes)).toBe(true)
  })

  it.runIf(sharedModel('tiny-qwen2'))('gives the same CID whether the checkpoint is sharded or not', async () => {
    await using folder = await temporary()
    const sharded = sharedModel('tiny-qwen2')!
    const [tensors, { tensors: refs, copies }] = [await tensorBytes(sharded), await openHuggingFace(sharded)]
    const header: Record<string, object> = {}
    let end = 0
    for (const [name, { dtype, shape, length }] of refs) {
      header[name] = { dtype, shape, data_offsets: [end, end + length] }
      end += length
    }
    await folder.write('one/model.safetensors', safetensors(header, Buffer.concat([...refs.keys()].map((name) => tensors.get(name)!))))
    for (const [path, file] of copies) await folder.write(`one/${path}`, await readFile(file.path))
    const [a, b] = [await fragment(sharded, { out: `${folder.path}/a` }), await fragment(`${folder.path}/one`, { out: `${folder.path}/b` })]
    expect(a.cid).toBe(b.cid)
  })

  it('stores a tied tensor once where both copies agree, twice where they differ', async () => {
    await using folder = await temporary()
    const config = {
      model_type: 'llama',
      tie_word_embeddings: true,
      hidden_size: 2,
      intermediate_size: 2,
      num_hidden_layers: 0,
      num_attention_heads: 1,
      num_key_value_heads: 1,
      vocab_size: 2,
      rms_norm_eps: 1e-6,
    }
    const make = async (name: string, head: number[]) => {
      const entry = (at: number) => ({ dtype: 'F32', shape: [2, 2], data_offsets: [at, at + 16] })
      const data = Float32Array.from([1, 2, 3, 4, ...head, 1, 1])
      await folder.write(
        `${name}/model.safetensors`,
        safetensors(
          {
            'model.embed_tokens.weight': entry(0),
            'lm_head.weight': entry(16),
            'model.norm.weight': { dtype: 'F32', shape: [2], data_offsets: [32, 40] },
          },
          new Uint8Array(data.buffer),
        ),
      )
      // an unknown family: the ties of a known one are what is tried here, the graph needs at least one layer
      await folder.write(`${name}/config.json`, JSON.stringify(config))
      const { untie } = await import('../../src/asset/ties.js')
      return [...(await untie(config, (await openHuggingFace(`${folder.path}/${name}`)).tensors)).keys()]
    }
    expect(await make('same', [1, 2, 3, 4])).toEqual(['model.embed_tokens.weight', 'model.norm.weight'])
    expect(await make('other', [1, 2, 3, 5])).toHaveLength(3)
  })

  it('of an unknown family is stored and inspected; running it says what is known', async () => {
    await using folder = await temporary()
    await folder.write('in/model.safetensors', checkpointBytes(['a.weight', 'b.c.bias']))
    await folder.write('in/config.json', '{"model_type":"unheard-of"}')
    await fragment(`${folder.path}/in`, { out: `${folder.path}/out` })
    expect((await inspect(`${folder.path}/out`)).modules.map(({ key }) => key)).toEqual(['a', 'b.c'])
    const { loadModel } = await import('../../src/api/index.js')
    await expect(loadModel(`${folder.path}/out`)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/unheard-of.*ONNX export/),
    })
  })

  it('inspected with a fragment missing says which', async () => {
    await using folder = await temporary()
    await fragment(DEMO, { out: `${folder.path}/out` })
    await rm(`${folder.path}/out/modules/lm_head.safetensors`)
    await expect(inspect(`${folder.path}/out`)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(/^Cannot open modules\/lm_head\.safetensors of .*: no such file/),
    })
  })

  it('cancelled, leaves nothing behind', async () => {
    await using folder = await temporary()
    const controller = new AbortController()
    controller.abort()
    await expect(fragment(DEMO, { out: `${folder.path}/out`, signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await readdir(folder.path)).toEqual([])
  })

  it('of a large checkpoint stays below 300 MB of memory', async () => {
    await using folder = await temporary()
    const names = Array.from({ length: 3 }, (_, i) => `layer.${i}.weight`)
    const size = 256 * 1024 * 1024
    const header = Object.fromEntries(
      names.map((name, i) => [name, { dtype: 'F32', shape: [8192, 8192], data_offsets: [i * size, (i + 1) * size] }]),
    )
    const head = safetensors(header, 0)
    const path = await folder.write('in/model.safetensors', head)
    await truncate(path, head.byteLength + 3 * size) // holes of zeros
    const script = `const { fragment } = await import(${JSON.stringify(new URL('../../src/api/index.js', import.meta.url).href)})
      await fragment(${JSON.stringify(`${folder.path}/in`)}, { out: ${JSON.stringify(`${folder.path}/out`)} })
      console.log(process.resourceUsage().maxRSS)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
    expect(Number(stdout) / 1024).toBeLessThan(300)
  })
})

describe('sealing', () => {
  it('a folder of fragments gives the asset that fragmenting gave', async () => {
    await using folder = await temporary()
    const out = `${folder.path}/out`
    await fragment(DEMO, { out })
    for (const name of ['asset.json', 'model.onnx', 'model.safetensors.index.json']) await rm(`${out}/${name}`)
    expect((await seal(out)).cid).toBe(DEMO_CID)
    expect(await verify(out)).toMatchObject({ damage: [] })
  })

  it('drops the copies of tied tensors, whose fragments go or are written anew', async () => {
    await using folder = await temporary()
    const config = { model_type: 'gpt2', tie_word_embeddings: true }
    const entry = (at: number) => ({ dtype: 'F32', shape: [2, 2], data_offsets: [at, at + 16] })
    const rows = new Uint8Array(Float32Array.from([1, 2, 3, 4]).buffer)
    const names = ['lm_head.weight', 'transformer.wte.weight', 'transformer.h.0.weight']
    const make = async (place: string, model_type: string) => {
      const header = Object.fromEntries(names.map((name, i) => [name, entry(i * 16)]))
      await folder.write(`${place}/model.safetensors`, safetensors(header, Buffer.concat([rows, rows, rows])))
      await folder.write(`${place}/config.json`, JSON.stringify({ ...config, model_type }))
    }
    await make('tied', 'gpt2')
    await make('unknown', 'unheard-of')
    const expected = await fragment(`${folder.path}/tied`, { out: `${folder.path}/expected` })
    // A family that is not known keeps both: what a tool writes that does not know who ties what.
    await fragment(`${folder.path}/unknown`, { out: `${folder.path}/out` })
    await folder.write('out/config.json', JSON.stringify(config))
    expect(await seal(`${folder.path}/out`)).toEqual(expected)
    expect(await readdir(`${folder.path}/out/modules`, { recursive: true })).not.toContain('lm_head.safetensors')
    expect(await verify(`${folder.path}/out`)).toMatchObject({ cid: expected.cid, damage: [] })
    expect((await seal(`${folder.path}/out`)).cid).toBe(expected.cid)
  })

  it('again, over longer files of an older seal, leaves nothing of them and does not write into what others have open', async () => {
    await using folder = await temporary()
    const out = `${folder.path}/out`
    await fragment(DEMO, { out })
    const old = await open(`${out}/model.onnx`)
    const before = await old.stat()
    for (const name of ['asset.json', 'model.onnx', 'model.safetensors.index.json']) await appendFile(`${out}/${name}`, ' '.repeat(9999))
    expect((await seal(out)).cid).toBe(DEMO_CID)
    expect(await verify(out)).toMatchObject({ cid: DEMO_CID, damage: [] })
    expect((await old.stat()).size).toBe(before.size + 9999)
    await old.close()
    expect(await readdir(folder.path)).toEqual(['out'])
  })

  it('refuses fragments that are not canonical or lie in the wrong place', async () => {
    await using folder = await temporary()
    await folder.write('a/modules/a.safetensors', checkpointBytes(['a.weight']))
    await expect(seal(`${folder.path}/a`)).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('not a canonical fragment'),
    })
    await fragment(DEMO, { out: `${folder.path}/b` })
    await writeFile(`${folder.path}/b/modules/elsewhere.safetensors`, await readFile(`${folder.path}/b/modules/lm_head.safetensors`))
    await rm(`${folder.path}/b/modules/lm_head.safetensors`)
    await expect(seal(`${folder.path}/b`)).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('belongs into') })
  })
})

describe('verifying a folder', () => {
  it('finds a flipped bit, a truncated file, a stranger, and says which', async () => {
    await using folder = await temporary()
    const out = `${folder.path}/out`
    await fragment(DEMO, { out })
    await folder.write('out/stranger.txt', 'x')
    await truncate(`${out}/modules/lm_head.safetensors`, 5000)
    const handle = await open(`${out}/config.json`, 'r+')
    await handle.write('!', 3)
    await handle.close()
    const { damage } = await verify(out)
    expect(damage.join('\n')).toMatch(/stranger\.txt/)
    expect(damage.join('\n')).toMatch(/lm_head\.safetensors.*5000 bytes/)
    expect(damage.join('\n')).toMatch(/config\.json/)
    expect(damage).toHaveLength(3)
    await expect(promisify(execFile)(process.execPath, [CLI, 'verify', out])).rejects.toMatchObject({ code: 1 })
    await expect(promisify(execFile)(process.execPath, [CLI, 'run', out, '--prompt', '4 April 1999'])).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^masset: Cannot read .*damaged.*\n$/),
    })
  })

  it('reads a header through readSafetensorsHeader as ONNX and transformers would', async () => {
    await using folder = await temporary()
    await fragment(DEMO, { out: `${folder.path}/out` })
    const handle = await open(`${folder.path}/out/modules/lm_head.safetensors`)
    const { size } = await handle.stat()
    const header = await readSafetensorsHeader(handle, size, 'lm_head')
    await handle.close()
    expect(header.dataStart % 4096).toBe(0)
    expect(header.metadata.get('format')).toBe('pt')
  })
})
