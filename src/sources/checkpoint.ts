import type { Stats } from 'node:fs'
import { withFile } from '../core/read.js'
import type { PackedType } from './gguf/types.js'
import type { StoredTensor } from './safetensors.js'
import type { Strided } from './strided.js'

/** One file of a checkpoint as it was when it was opened; a reader that finds other facts must stop. */
export interface SourceFile {
  readonly path: string
  readonly size: number
  readonly mtimeMs: number
  readonly ino: number
}

/** The facts of a file out of its `stat`. */
export function sourceFile(path: string, { size, mtimeMs, ino }: Stats): SourceFile {
  return { path, size, mtimeMs, ino }
}

/** The facts of the file at a path. @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' where it is not a file | 'IO' */
export function sourceFileAt(path: string): Promise<SourceFile> {
  return withFile(path, path, async (_, facts) => sourceFile(path, facts))
}

/** Where bytes come from: from `offset` of a file on, in one range, or as `strided` says. */
export interface ByteSource {
  readonly file: SourceFile
  readonly offset: number
  readonly strided?: Strided
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
}
