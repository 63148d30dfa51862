import { PACKED, type PackedType } from '../../src/sources/gguf/types.js'

/** The number of each type of a value in the metadata. */
export const META = { u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, text: 8, list: 9, u64: 10, i64: 11, f64: 12 } as const
/** The number of each type of a tensor. */
export const TYPES = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  BF16: 30,
} as const

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
  return bytes
}

export function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}

/** A text; `length` lies about it. */
export function text(value: string, length: number | bigint = Buffer.byteLength(value)): Buffer {
  return Buffer.concat([u64(length), Buffer.from(value)])
}

/** A value of the metadata, its type first. */
export const value = {
  text: (of: string) => Buffer.concat([u32(META.text), text(of)]),
  u32: (of: number) => Buffer.concat([u32(META.u32), u32(of)]),
  f32: (of: number) => Buffer.concat([u32(META.f32), f32(of)]),
  bool: (of: number) => Buffer.concat([u32(META.bool), Buffer.from([of])]),
  list: (type: number, elements: readonly Uint8Array[], count: number | bigint = elements.length) =>
    Buffer.concat([u32(META.list), u32(type), u64(count), ...elements]),
  texts: (of: readonly string[]) =>
    value.list(
      META.text,
      of.map((one) => text(one)),
    ),
  i32s: (of: readonly number[]) => value.list(META.i32, of.map(u32)),
  f32s: (of: readonly number[]) => value.list(META.f32, of.map(f32)),
}

/** A tensor as ggml names its dimensions, the one of a row's elements first; what is given beside name and data may lie. */
export interface FileTensor {
  readonly name: string
  readonly dims: readonly (number | bigint)[]
  readonly type?: number
  readonly data?: Uint8Array
  readonly offset?: number | bigint
}

/** What a file is made of, with room for lies. */
export interface FileParts {
  readonly version?: number
  readonly keys?: Readonly<Record<string, Uint8Array>> | readonly (readonly [string, Uint8Array])[]
  readonly tensors?: readonly FileTensor[]
  readonly alignment?: number
  readonly tensorCount?: number | bigint
  readonly keyCount?: number | bigint
}

/** The bytes of a GGUF file. */
export function gguf({ version = 3, keys = {}, tensors = [], alignment = 32, tensorCount = tensors.length, keyCount }: FileParts): Buffer {
  const entries = Array.isArray(keys) ? keys : Object.entries(keys)
  const infos: Buffer[] = []
  const data: Buffer[] = []
  let at = 0
  for (const { name, dims, type = TYPES.F32, data: bytes = new Uint8Array(0), offset = at } of tensors) {
    infos.push(Buffer.concat([text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)]))
    const padded = Buffer.alloc(Math.ceil(bytes.byteLength / alignment) * alignment)
    padded.set(bytes)
    data.push(padded)
    at += padded.byteLength
  }
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(version),
    u64(tensorCount),
    u64(keyCount ?? entries.length),
    ...entries.flatMap(([key, bytes]) => [text(key), bytes]),
    ...infos,
  ])
  return Buffer.concat([header, Buffer.alloc(Math.ceil(header.byteLength / alignment) * alignment - header.byteLength), ...data])
}

/** Numbers as the bytes of a tensor of F32. */
export function floats(numbers: Iterable<number>): Uint8Array {
  return new Uint8Array(Float32Array.from(numbers).buffer)
}

const HALVES: Record<PackedType, readonly number[]> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
}

/** Packed weights of so many elements: any bits, but scales and minima of 16 bits that are plain numbers below `largest`. */
export function packed(type: PackedType, elements: number, random: (most: number) => number, largest = 2 ** -6): Buffer {
  const { elements: each, bytes } = PACKED[type]
  const data = Buffer.alloc((elements / each) * bytes)
  for (let i = 0; i < data.byteLength; i++) data[i] = random(256)
  // a half's exponent counts from -15, its five bits are below the sign
  const exponents = 15 + Math.floor(Math.log2(largest))
  for (let at = 0; at < data.byteLength; at += bytes)
    for (const half of HALVES[type]) {
      const isMin = HALVES[type].indexOf(half) > 0
      data.writeUInt16LE(((isMin ? 0 : random(2)) << 15) | (random(exponents) << 10) | random(1024), at + half)
    }
  return data
}
