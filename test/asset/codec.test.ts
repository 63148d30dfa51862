import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { importer } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import { fileDag, folderDag } from '../../src/asset/dag.js'
import { dagSizeOf } from '../../src/asset/dag-size.js'
import { layoutFragment } from '../../src/asset/fragment-codec.js'
import { decodeManifest, encodeManifest } from '../../src/asset/manifest.js'
import { keyOfPath } from '../../src/asset/module-list.js'
import { moduleKey, moduleTree } from '../../src/asset/module-tree.js'
import { Summer } from '../../src/asset/sums.js'
import { leafCid } from '../../src/core/cid.js'
import { isSafePath } from '../../src/core/paths.js'
import { parseSafetensorsHeader } from '../../src/sources/safetensors.js'

const MIB = 1024 * 1024

function sumsOf(bytes: Uint8Array) {
  const summer = new Summer()
  summer.update(bytes)
  return summer.finish()
}

/** The plain importer over plain bytes: the oracle. */
async function oracle(files: { path?: string; content: Uint8Array }[], wrap = false) {
  const store = { put: async (cid: CID) => cid }
  let last: { cid: CID; size: bigint } | undefined
  for await (last of importer(files as never, store as never, { profile: 'unixfs-v1-2025', wrapWithDirectory: wrap }));
  return last!
}

describe('CIDs', () => {
  it('of "hello world" is the known one', async () => {
    expect(String((await fileDag(sumsOf(Buffer.from('hello world')))).cid)).toBe(
      'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e',
    )
  })

  it.each([0, 1, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])('of a file of %i bytes equals that of the plain importer', async (size) => {
    const bytes = new Uint8Array(size).map((_, i) => (i * 31 + (i >> 8)) & 255)
    const wanted = await oracle([{ content: bytes }])
    const found = await fileDag(sumsOf(bytes))
    expect(String(found.cid)).toBe(String(wanted.cid))
    expect(found.dagSize).toBe(Number(wanted.size))
    expect(dagSizeOf(size)).toBe(Number(wanted.size))
  })

  it('of a large file has the size of DAG that its file size says, whatever the levels', async () => {
    const sizeOfDag = async (size: number) =>
      (await fileDag({ size, leaves: new Uint8Array(Math.max(1, Math.ceil(size / MIB)) * 32) })).dagSize
    for (const size of [1024 * MIB, 1024 * MIB + 1, 1025 * MIB + 7, 2049 * MIB - 1]) expect(dagSizeOf(size)).toBe(await sizeOfDag(size))
    await fc.assert(
      fc.asyncProperty(fc.nat(4096 * MIB), async (size) => {
        expect(dagSizeOf(size)).toBe(await sizeOfDag(size))
      }),
      { numRuns: 20 },
    )
  })

  it.each([3, 6000])('of a folder of %i files equals that of the plain importer, sharded directories too', async (count) => {
    const files = Array.from({ length: count }, (_, i) => ({
      path: `${i % 3 ? 'a' : 'b/c'}/file-${i}`,
      content: Buffer.from(`content ${i}`),
    }))
    const wanted = await oracle(files, true)
    const known = files.map(({ path, content }) => ({
      path,
      size: content.byteLength,
      cid: leafCid(createHash('sha256').update(content).digest()),
    }))
    expect(String((await folderDag(known)).cid)).toBe(String(wanted.cid))
  })

  it('of a folder of 5000 folders is that of a sharded directory, as Kubo has it', async () => {
    const empty = leafCid(createHash('sha256').digest())
    const files = Array.from({ length: 5000 }, (_, i) => ({ path: `a-folder-numbered-${i}/file`, size: 0, cid: empty }))
    // ipfs 0.43.0, profile unixfs-v1-2025: `ipfs add -r`, `ipfs files stat`
    const { cid, dagSize } = await folderDag(files)
    expect([String(cid), dagSize]).toEqual(['bafybeienseb75m3dfrowuhgqstamp53ss5myops2wxwgb7ajxz2v4qq7te', 635_564])
  })
})

const segment = fc.string({ unit: fc.constantFrom('a', 'A', 'b', '.', '/', '%', '@', '0', '_', ' ', 'é', '\\'), maxLength: 5 })
const names = fc.uniqueArray(
  fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('.')),
  { minLength: 1, maxLength: 20 },
)

describe('the module tree', () => {
  it('puts every tensor into one module, at a path that is safe, unique even where case folds, and tells the key', () => {
    fc.assert(
      fc.property(names, (tensors) => {
        const modules = moduleTree(tensors)
        expect(modules.flatMap(({ tensors: own }) => own).sort()).toEqual([...tensors].sort())
        expect(new Set(modules.map(({ path }) => path.toLowerCase())).size).toBe(modules.length)
        for (const { path, key, tensors: own } of modules) {
          expect(isSafePath(path)).toBe(true)
          expect(keyOfPath(path)).toBe(key)
          for (const name of own) expect(moduleKey(name)).toBe(key)
        }
      }),
    )
  })

  it('refuses keys of too many segments, and too long ones, before it makes folders of them', () => {
    expect(() => moduleTree([`${'a.'.repeat(100_000)}weight`])).toThrow(/more than 64 segments/)
    expect(() => moduleTree([`${'a'.repeat(201)}.weight`])).toThrow(/longer than 200 bytes as a file name/)
    expect(() => moduleTree([`${`${'a'.repeat(150)}.`.repeat(8)}weight`])).toThrow(/longer than 1024 bytes as a path/)
  })

  it('makes a leaf a file and a module with submodules a folder', () => {
    expect(moduleTree(['w', 'a.b.weight', 'a.cls_token', 'a.b.bias', 'L.x.w', 'l.x.w']).map(({ path }) => path)).toEqual([
      'modules/%4C/x.safetensors',
      'modules/@own.safetensors',
      'modules/a/@own.safetensors',
      'modules/a/b.safetensors',
      'modules/l/x.safetensors',
    ])
  })
})

describe('fragments', () => {
  const tensor = fc.record({
    name: fc.string({ minLength: 1 }),
    dtype: fc.constantFrom('F32', 'BF16', 'U8', 'I64', 'F16'),
    shape: fc.array(fc.nat(5), { maxLength: 3 }),
  })
  it('are laid out the same in any order, aligned, without holes, and parse', () => {
    fc.assert(
      fc.property(fc.uniqueArray(tensor, { selector: ({ name }) => name, minLength: 1, maxLength: 8 }), (tensors) => {
        const usable = tensors.filter(({ name }) => name !== '__metadata__')
        const layout = layoutFragment(usable as never)
        expect(Buffer.compare(layoutFragment([...usable].reverse() as never).header, layout.header)).toBe(0)
        expect(layout.header.byteLength % 4096).toBe(0)
        const { tensors: parsed } = parseSafetensorsHeader(layout.header.subarray(8), layout.size - layout.header.byteLength, 'a fragment')
        for (const { name, offset, length, dtype } of layout.tensors) {
          expect(parsed.get(name)).toMatchObject({ offset, length, dtype })
          expect(offset % { F32: 4, BF16: 2, F16: 2, U8: 1, I64: 8 }[dtype as 'F32']).toBe(0)
        }
      }),
    )
  })
})

describe('manifests', () => {
  const cid = 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'
  const manifest = (files: string, rest = '') => Buffer.from(`{"format":"module-assets/1","kind":"model"${rest},"files":${files}}`)

  it('come back as they were, byte for byte', () => {
    const bytes = manifest(`{"a/__proto__":{"cid":"${cid}","size":1},"b":{"cid":"${cid}","size":0}}`, ',"name":"x","main":"b"')
    expect(Buffer.from(encodeManifest(decodeManifest(bytes))).toString()).toBe(`${bytes}\n`)
  })

  it.each(['..', '../a', 'a/../b', '/a', 'a//b', '', '.', 'a\\\\b', 'C:a', 'a\\u0000b', '.. /a', 'a.', '__proto__/..'])(
    '44: refuses the path "%s"',
    (path) => {
      expect(() => decodeManifest(manifest(`{"${path}":{"cid":"${cid}","size":1}}`))).toThrow(/unsafe path/)
    },
  )

  const file = `{"cid":"${cid}","size":1}`
  it.each([
    ['a file in two cases', `{"a":${file},"A":${file}}`],
    ['a file that is a folder too', `{"a":${file},"a/b":${file}}`],
    ['a folder that is a file too', `{"a/b":${file},"a":${file}}`],
    ['a folder in two cases', `{"A/x":${file},"a/y":${file}}`],
    ['a folder in two cases, deep down', `{"m/A/b/x":${file},"m/a/b/y":${file}}`],
    ['composed and decomposed characters', `{"\u00e9":${file},"e\u0301":${file}}`],
    ['the manifest itself', `{"asset.json":${file}}`],
    ['the manifest in another case', `{"Asset.JSON":${file}}`],
    ['the manifest as a folder', `{"asset.json/x":${file}}`],
  ])('44: refuses %s', (_what, files) => {
    expect(() => decodeManifest(manifest(files))).toThrow(/can't be in one folder everywhere/)
  })

  it('10: a file called __proto__ is only a file', () => {
    const { files } = decodeManifest(manifest(`{"__proto__":${file},"constructor":${file}}`))
    expect([...files.keys()]).toEqual(['__proto__', 'constructor'])
    expect(() => decodeManifest(manifest('{"__proto__":{}}'))).toThrow(/"__proto__": cid/)
  })

  it.each([
    ['another format', '{"format":"module-assets/2","kind":"model","files":{}}', /format: expected "module-assets\/1"/],
    ['an unknown kind', '{"format":"module-assets/1","kind":"tool","files":{}}', /kind: expected one of model, dataset/],
    ['a kind that objects inherit', '{"format":"module-assets/1","kind":"constructor","files":{}}', /kind: expected/],
    ['a name that is no text', '{"format":"module-assets/1","kind":"model","name":1,"files":{}}', /name: expected/],
    ['a name without end', `{"format":"module-assets/1","kind":"model","name":"${'n'.repeat(5000)}","files":{}}`, /name: expected at most/],
    ['a main that is no text', '{"format":"module-assets/1","kind":"model","main":null,"files":{}}', /main: expected a path/],
    ['a config that is no text', '{"format":"module-assets/1","kind":"model","config":{},"files":{}}', /config: expected a path/],
    ['no files', '{"format":"module-assets/1","kind":"model"}', /files: expected an object/],
    ['files as a list', '{"format":"module-assets/1","kind":"model","files":[]}', /files: expected an object/],
    ['a file that is null', '{"format":"module-assets/1","kind":"model","files":{"a":null}}', /"a": cid: expected/],
    ['a file that is a list', '{"format":"module-assets/1","kind":"model","files":{"a":[]}}', /"a": cid: expected/],
    ['a list', '[]', /must be a JSON object/],
  ])('refuses %s', (_what, text, why) => {
    expect(() => decodeManifest(Buffer.from(text))).toThrow(
      expect.objectContaining({ code: 'BAD_INPUT', message: expect.stringMatching(why) }),
    )
  })

  it('refuses bad CIDs and sizes, and sizes that together no disk has, without making anything of them', () => {
    expect(() => decodeManifest(manifest('{"a":{"cid":"Qm","size":1}}'))).toThrow(/not a CID/)
    expect(() => decodeManifest(manifest(`{"a":{"cid":"${cid}","size":-1}}`))).toThrow(/"a": size/)
    expect(() => decodeManifest(manifest(`{"a":{"cid":"${cid}","size":0.5}}`))).toThrow(/"a": size/)
    const petabyte = `{"cid":"${cid}","size":${2 ** 50}}`
    expect(decodeManifest(manifest(`{"a":${petabyte}}`)).files.size).toBe(1)
    expect(dagSizeOf(2 ** 50)).toBeGreaterThan(2 ** 50)
    expect(() => decodeManifest(manifest(`{"a":${petabyte},"b":${file}}`))).toThrow(/more than 1125899906842624 bytes/)
    expect(() => decodeManifest(manifest('{}', ',"main":"nowhere"'))).toThrow(/not among its files/)
  })

  it('48: refuses paths too deep and folders too many, and takes what is just within', () => {
    const pathOf = (index: number, depth: number) => `${index}/${'x/'.repeat(depth - 2)}f`
    const of = (count: number, depth: number) =>
      manifest(`{${Array.from({ length: count }, (_, index) => `"${pathOf(index, depth)}":${file}`).join(',')}}`)
    expect(decodeManifest(of(1000, 100)).files.size).toBe(1000)
    for (const [bytes, why] of [
      [of(1, 101), /more than 100 parts/],
      [of(300, 2040), /more than 100 parts/],
      [of(1100, 100), /more than 100000 folders/],
    ] as const)
      expect(() => decodeManifest(bytes)).toThrow(expect.objectContaining({ code: 'LIMIT', message: expect.stringMatching(why) }))
  })
})

describe('the package', () => {
  it('exports one entry, and these names', async () => {
    const { exports } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
    expect(Object.keys(exports)).toEqual(['.', './package.json'])
    const api = await import('../../src/api/index.js')
    expect(Object.keys(api).sort()).toEqual([
      'AssetError',
      'Model',
      'Tensor',
      'compare',
      'fragment',
      'getFolder',
      'inspect',
      'loadModel',
      'openStore',
      'plan',
      'putFolder',
      'seal',
      'verify',
    ])
  })
})
