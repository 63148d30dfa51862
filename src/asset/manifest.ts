import { parseCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { parseJsonObject } from '../core/json.js'
import { LIMITS } from '../core/limits.js'
import { compareUtf8, FolderNames, isSafePath } from '../core/paths.js'
import type { AssetFile } from './sums.js'

/** The name of the manifest inside an asset folder. */
export const MANIFEST = 'asset.json'
/** The name of the program inside a model asset. */
export const GRAPH = 'model.onnx'
/** The name of the Hugging Face index inside a model asset. */
export const INDEX = 'model.safetensors.index.json'

const FORMAT = 'module-assets/1'
const KINDS = ['model', 'dataset', 'function', 'bundle'] as const

/** What an asset is, and Path2Hash: every other file of its folder by path. */
export interface Manifest {
  readonly kind: (typeof KINDS)[number]
  readonly name?: string
  readonly main?: string
  readonly config?: string
  /** relative path -> CID and size in bytes, ordered by path */
  readonly files: ReadonlyMap<string, AssetFile>
}

/** The path of an asset's ONNX graph; undefined where it has no program. @throws AssetError 'UNSUPPORTED' for a program of another kind */
export function graphOf({ main }: Manifest, where: string): string | undefined {
  if (main?.endsWith('.json'))
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot run ${where}: it is a TensorFlow.js model (${main}), and the engine for those is not there yet; it can be stored, verified and shared`,
    )
  return main
}

/** The canonical bytes of asset.json: fixed key order, files ordered by UTF-8 bytes, compact, a newline at the end. */
export function encodeManifest(manifest: Manifest): Uint8Array<ArrayBuffer> {
  const { kind, name, main, config } = manifest
  const head = JSON.stringify({ format: FORMAT, kind, name, main, config })
  const files = [...manifest.files.values()]
    .sort((a, b) => compareUtf8(a.path, b.path))
    .map(({ path, cid, size }) => `${JSON.stringify(path)}:{"cid":"${cid}","size":${size}}`)
  return new Uint8Array(Buffer.from(`${head.slice(0, -1)},"files":{${files.join(',')}}}\n`, 'utf8'))
}

/**
 * Reads and validates asset.json.
 * @throws AssetError 'BAD_INPUT' | 'LIMIT' where it is not a manifest, or a path could leave the folder.
 */
export function decodeManifest(bytes: Uint8Array, what: string = MANIFEST): Manifest {
  const { format, kind, name, main, config, files: listed } = parseJsonObject(bytes, what)
  if (format !== FORMAT) throw bad(what, `format: expected "${FORMAT}"`)
  if (!isKind(kind)) throw bad(what, `kind: expected one of ${KINDS.join(', ')}`)
  if (!isText(name) || (name ?? '').length > LIMITS.assetName) throw bad(what, `name: expected at most ${LIMITS.assetName} characters`)
  if (!isText(main)) throw bad(what, 'main: expected a path')
  if (!isText(config)) throw bad(what, 'config: expected a path')
  if (!isObject(listed)) throw bad(what, 'files: expected an object')
  checkPaths(Object.keys(listed), what)
  const files = new Map<string, AssetFile>()
  let total = 0
  for (const [path, value] of Object.entries(listed)) {
    const { cid, size } = isObject(value) ? value : {}
    const entry = `${what}, ${JSON.stringify(path.slice(0, 100))}`
    if (typeof cid !== 'string') throw bad(entry, 'cid: expected a text')
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw bad(entry, 'size: expected a whole number from 0')
    total += size
    if (total > LIMITS.assetBytes) throw new AssetError('LIMIT', `Cannot read ${what}: its files have more than ${LIMITS.assetBytes} bytes`)
    files.set(path, { path, cid: parseCid(cid), size })
  }
  for (const role of [main, config])
    if (role !== undefined && !files.has(role)) throw bad(what, `it names ${JSON.stringify(role)}, which is not among its files`)
  return { kind, files, ...(name !== undefined && { name }), ...(main !== undefined && { main }), ...(config !== undefined && { config }) }
}

/**
 * Checks that the files of an asset can lie in one folder on every system, and are no more and no deeper than an asset may hold.
 * @throws AssetError 'BAD_INPUT' | 'LIMIT'
 */
export function checkPaths(paths: readonly string[], what: string): void {
  const tooMuch = (why: string) => new AssetError('LIMIT', `Cannot read ${what}: ${why}; divide it`)
  if (paths.length > LIMITS.assetFiles) throw tooMuch(`it lists more than ${LIMITS.assetFiles} files`)
  const names = new FolderNames([MANIFEST])
  for (const path of paths) {
    const shown = JSON.stringify(path.slice(0, 100))
    if (!isSafePath(path)) throw bad(what, `it lists the unsafe path ${shown}`)
    if (path.split('/').length > LIMITS.pathSegments) throw tooMuch(`the path ${shown} has more than ${LIMITS.pathSegments} parts`)
    const clash = names.add(path)
    if (names.folders > LIMITS.folders) throw tooMuch(`it has more than ${LIMITS.folders} folders`)
    if (clash !== undefined)
      throw bad(what, `the paths ${JSON.stringify(clash)} and ${JSON.stringify(path)} can't be in one folder everywhere`)
  }
}

function isKind(value: unknown): value is Manifest['kind'] {
  return (KINDS as readonly unknown[]).includes(value)
}

/** A text, or left out. */
function isText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function bad(what: string, why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot read ${what}: ${why}`)
}
