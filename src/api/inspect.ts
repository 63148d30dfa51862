import type { ModuleInfo } from '../asset/module-list.js'
import { compareUtf8 } from '../core/paths.js'
import type { LongCall } from '../core/progress.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { Store } from '../store/store.js'
import type { Verification } from '../store/verify.js'

/** What an asset is made of. */
export interface Inspection {
  readonly cid: string
  readonly kind: string
  readonly name?: string
  /** bytes of all files */
  readonly size: number
  /** elements of all tensors */
  readonly parameters: number
  readonly modules: readonly ModuleInfo[]
  /** files that are not fragments */
  readonly files: readonly { readonly path: string; readonly cid: string; readonly size: number }[]
}

/** What two assets have in common, by content. */
export interface Comparison {
  readonly a: string
  readonly b: string
  /** bytes of files that both have, under whatever path */
  readonly sharedBytes: number
  readonly shared: number
  readonly onlyA: readonly string[]
  readonly onlyB: readonly string[]
  readonly changed: readonly string[]
}

async function opened(cidOrPath: string, store: Store | undefined): Promise<OpenAsset> {
  const [{ openAsset }, { openStore }] = await Promise.all([import('../store/open-asset.js'), import('./store.js')])
  return openAsset(cidOrPath, async () => store ?? openStore())
}

/**
 * The module tree of an asset with parameters, element types, bytes and CIDs; reads headers only.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'CORRUPT'
 */
export async function inspect(cidOrPath: string, options: { readonly store?: Store | undefined } = {}): Promise<Inspection> {
  const [{ moduleInfo }, { fragmentHeaders }] = await Promise.all([
    import('../asset/module-list.js'),
    import('../store/fragment-headers.js'),
  ])
  await using asset = await opened(cidOrPath, options.store)
  const modules: ModuleInfo[] = []
  for await (const { file, header } of fragmentHeaders(asset)) modules.push(moduleInfo(file.path, String(file.cid), file.size, header))
  const files = [...asset.manifest.files.values()]
    .filter(({ path }) => !path.startsWith('modules/'))
    .sort((a, b) => compareUtf8(a.path, b.path))
    .map(({ path, cid, size }) => ({ path, cid: String(cid), size }))
  const { kind, name } = asset.manifest
  const size = [...asset.manifest.files.values()].reduce((sum, file) => sum + file.size, 0)
  const parameters = modules.reduce((sum, module) => sum + module.parameters, 0)
  return { cid: asset.cid, kind, size, parameters, modules, files, ...(name !== undefined && { name }) }
}

/** What two assets share and where they differ, from their manifests alone. @throws AssetError */
export async function compare(a: string, b: string, options: { readonly store?: Store | undefined } = {}): Promise<Comparison> {
  await using one = await opened(a, options.store)
  await using two = await opened(b, options.store)
  const cidsOf = (asset: OpenAsset) => new Map([...asset.manifest.files.values()].map((file) => [String(file.cid), file.size]))
  const [cidsA, cidsB] = [cidsOf(one), cidsOf(two)]
  const shared = [...cidsA].filter(([cid]) => cidsB.has(cid))
  const [pathsA, pathsB] = [one.manifest.files, two.manifest.files]
  return {
    a: one.cid,
    b: two.cid,
    shared: shared.length,
    sharedBytes: shared.reduce((sum, [, size]) => sum + size, 0),
    onlyA: [...pathsA.keys()].filter((path) => !pathsB.has(path)),
    onlyB: [...pathsB.keys()].filter((path) => !pathsA.has(path)),
    changed: [...pathsA.values()].filter(({ path, cid }) => pathsB.has(path) && !pathsB.get(path)!.cid.equals(cid)).map(({ path }) => path),
  }
}

/**
 * Reads every byte of an asset and compares it with its CIDs.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'CORRUPT' where it can't even be opened; other damage is in the result
 */
export async function verify(cidOrPath: string, options: LongCall & { readonly store?: Store | undefined } = {}): Promise<Verification> {
  const { verifyAsset } = await import('../store/verify.js')
  await using asset = await opened(cidOrPath, options.store)
  return await verifyAsset(asset, options)
}
