import type { Stats } from 'node:fs'
import { withFile } from '../core/read.js'
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

/** A run of a file's bytes. */
export interface SourceRun {
  readonly file: SourceFile
  readonly offset: number
  readonly length: number
}

/** A tensor of a checkpoint: nothing but where its bytes are; `length` is of the dense tensor, however its bytes lie. */
export interface TensorRef extends StoredTensor, ByteSource {
  /** the last of its bytes, where a file ends within it; such a tensor is not strided */
  readonly further?: readonly SourceRun[]
}

/** Somebody's published weights, opened but not loaded. */
export interface Checkpoint {
  readonly folder: string
  /** full tensor name -> where it is */
  readonly tensors: ReadonlyMap<string, TensorRef>
  /** relative path -> file, for the files that an asset copies byte for byte */
  readonly copies: ReadonlyMap<string, SourceFile>
  /** of a checkpoint with a program that is no ONNX graph: which of the copies that is, if it is there, and why it can't be run */
  readonly program?: { readonly path?: string; readonly problem: string }
}
