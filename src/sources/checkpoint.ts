import type { Stats } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { AssetError, ioError } from '../core/errors.js'
import { type Readable, readWhole, withFile } from '../core/read.js'
import type { StateDict } from '../graph/weights.js'
import type { PackedType } from './gguf/types.js'
import { isMounted, mountedAt, mountedIn } from './mounts.js'
import type { StoredTensor } from './safetensors.js'
import type { Strided } from './strided.js'

/** One file of a checkpoint as it was when it was opened; a reader that finds other facts must stop. */
export interface SourceFile {
  readonly path: string
  readonly size: number
  readonly mtimeMs: number
  readonly ino: number
  /** it is not on this disk: a thread that has no mounts asks the main one for its bytes, by its path */
  readonly isRemote?: true
}

/** The facts of a file out of its `stat`. */
export function sourceFile(path: string, { size, mtimeMs, ino }: Stats): SourceFile {
  return { path, size, mtimeMs, ino }
}

/**
 * Opens a file of a checkpoint, on disk or mounted, hands it over, and closes it.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' where it is not a file | 'IO'
 */
export async function withSource<T>(path: string, use: (handle: Readable, file: SourceFile) => Promise<T>): Promise<T> {
  const mounted = mountedAt(path)
  if (typeof mounted === 'object') return use(mounted, { path, size: mounted.size, mtimeMs: 0, ino: 0, isRemote: true })
  if (mounted === undefined && isMounted(path))
    throw new AssetError('NOT_FOUND', `Cannot open ${path}: there is no such file; check the name`)
  const place = mounted ?? path
  return withFile(place, place, (handle, facts) => use(handle, sourceFile(place, facts)))
}

/** The facts of the file at a path. @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' where it is not a file | 'IO' */
export function sourceFileAt(path: string): Promise<SourceFile> {
  return withSource(path, async (_, file) => file)
}

/** A whole file of a checkpoint, of at most `limit` bytes. @throws AssetError 'LIMIT', else as {@link withSource} */
export function readSourceFile(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  return withSource(path, (handle, file) => readWhole(handle, file.size, limit, file.path))
}

/** What is in a folder of a checkpoint, on disk or mounted. @throws AssetError 'NOT_FOUND' | 'IO' */
export async function entriesOf(folder: string): Promise<{ readonly name: string; readonly isFolder: boolean }[]> {
  const mounted = mountedIn(folder)
  if (mounted) return mounted
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw ioError(`open ${folder}`, error)
  })
  return entries.map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() }))
}

/** Where bytes come from: from `offset` of a file on, in one range, or as `strided` says. */
export interface ByteSource {
  readonly file: SourceFile
  readonly offset: number
  readonly strided?: Strided
}

/** A run of a file's bytes. */
export interface SourceRun {
  readonly file: SourceFile
  readonly offset: number
  readonly length: number
}

/** Weights that are packed into few bits. */
export interface Packed {
  readonly type: PackedType
  /** true where rows and columns of the shape are the other way around in the file */
  readonly turned?: boolean
  /** true for a table whose rows are looked up */
  readonly table?: boolean
}

/**
 * A tensor of a checkpoint: nothing but where its bytes are; `length` is of the dense tensor, however its bytes lie. One
 * that is `packed` is of float32, and what lies in the file, at `offset` or as `strided` says, is what stands for that.
 */
export interface TensorRef extends StoredTensor, ByteSource {
  readonly packed?: Packed
  /** what is to be added to each number of the file */
  readonly plus?: number
  /** the last of its bytes, where a file ends within it; such a tensor is neither strided nor packed */
  readonly further?: readonly SourceRun[]
}

/** A graph that came with its weights: a serialized ONNX model, and why it can't be run here, where that is so. */
export interface OwnGraph {
  readonly bytes: Uint8Array
  readonly problem?: string
}

/** Somebody's published weights, opened but not loaded. */
export interface Checkpoint {
  readonly folder: string
  /** full tensor name -> where it is */
  readonly tensors: ReadonlyMap<string, TensorRef>
  /** relative path -> file, for the files that an asset copies byte for byte */
  readonly copies: ReadonlyMap<string, SourceFile>
  /** files that the reader made out of what the checkpoint says in another form, by path */
  readonly made?: ReadonlyMap<string, Uint8Array>
  /** for people: what could not be taken over, and why */
  readonly notes?: readonly string[]
  /** of a checkpoint with a program that is no ONNX graph: which of the copies that is, if it is there, and why it can't be run */
  readonly program?: { readonly path?: string; readonly problem: string }
  /** the graph that it brings along, given where its tensors will lie; without one its family makes one */
  graph?(weights: StateDict): OwnGraph
}
