import type { PackedType } from '../../../sources/gguf/types.js'

/** Where the whole numbers of a block are kept, and how: in order of the elements of a row that they stand for. */
export interface Layout {
  /** bits of a whole number that are kept together, and of what is above them */
  readonly low: 2 | 4 | 8
  readonly high?: 1 | 2
  /** what is taken off each whole number */
  readonly offset: number
  /** elements that share a scale */
  readonly block: 16 | 32
  /** where the scale, and what is added to or taken off all elements of a block, are: halves */
  readonly scale: number
  readonly min?: number
  /** the whole numbers, before `offset` is taken off, of the block at byte `at`; those of 8 bits are signed */
  numbers(raw: Uint8Array, at: number, out: Uint8Array): void
  /**
   * Whole numbers by which the scale of each block is multiplied, and the minimum, which is then taken off. `signed` are those
   * of one byte each; the others are unsigned, of so many bits.
   */
  readonly blocks?: {
    readonly bits: 4 | 8
    readonly signed: boolean
    read(raw: Uint8Array, at: number, scales: Int16Array, mins: Int16Array): void
  }
}

/** Nibbles of 32 elements: the low ones are the first half of them. Bits above them, where there are any, are in order. */
function halves(from: number, bitsFrom?: number): Layout['numbers'] {
  return (raw, at, out) => {
    for (let i = 0; i < 16; i++) {
      const byte = raw[at + from + i]!
      out[i] = byte & 15
      out[i + 16] = byte >> 4
    }
    if (bitsFrom === undefined) return
    for (let i = 0; i < 32; i++) out[i]! |= ((raw[at + bitsFrom + (i >> 3)]! >> (i & 7)) & 1) << 4
  }
}

/** Pairs of bits of 256 elements, in runs of 32. */
function crumbs(raw: Uint8Array, from: number, out: Uint8Array): void {
  for (let i = 0; i < 256; i++) out[i] = (raw[from + ((i >> 7) << 5) + (i & 31)]! >> (((i >> 5) & 3) << 1)) & 3
}

/** Nibbles of 256 elements: runs of 32 take turns with the low ones and the high ones. */
function nibbles(raw: Uint8Array, from: number, out: Uint8Array): void {
  for (let i = 0; i < 256; i++) out[i] = (raw[from + ((i >> 6) << 5) + (i & 31)]! >> (((i >> 5) & 1) << 2)) & 15
}

/** One bit of each of 256 elements: those of one run of 32 are the same bit of 32 bytes. */
function addBits(raw: Uint8Array, from: number, shift: number, out: Uint8Array): void {
  for (let i = 0; i < 256; i++) out[i]! |= ((raw[from + (i & 31)]! >> (i >> 5)) & 1) << shift
}

/** Scales and minima of 6 bits each of 8 blocks, in 12 bytes. */
function sixBits(raw: Uint8Array, from: number, scales: Int16Array, mins: Int16Array): void {
  const byte = (i: number) => raw[from + i]!
  for (let i = 0; i < 4; i++) {
    scales[i] = byte(i) & 63
    mins[i] = byte(i + 4) & 63
    scales[i + 4] = (byte(i + 8) & 15) | ((byte(i) >> 6) << 4)
    mins[i + 4] = (byte(i + 8) >> 4) | ((byte(i + 4) >> 6) << 4)
  }
}

const SIX_BITS = {
  bits: 8,
  signed: false,
  read: (raw, at, scales, mins) => sixBits(raw, at + 4, scales, mins),
} as const satisfies Layout['blocks']

/** By ggml's names. Source: ggml-common.h and dequantize_row_* in ggml-quants.c of https://github.com/ggml-org/ggml */
export const LAYOUTS: Readonly<Record<PackedType, Layout>> = {
  Q4_0: { low: 4, offset: 8, block: 32, scale: 0, numbers: halves(2) },
  Q4_1: { low: 4, offset: 0, block: 32, scale: 0, min: 2, numbers: halves(4) },
  Q5_0: { low: 4, high: 1, offset: 16, block: 32, scale: 0, numbers: halves(6, 2) },
  Q5_1: { low: 4, high: 1, offset: 0, block: 32, scale: 0, min: 2, numbers: halves(8, 4) },
  Q8_0: {
    low: 8,
    offset: 0,
    block: 32,
    scale: 0,
    numbers: (raw, at, out) => {
      for (let i = 0; i < 32; i++) out[i] = raw[at + 2 + i]!
    },
  },
  Q2_K: {
    low: 2,
    offset: 0,
    block: 16,
    scale: 80,
    min: 82,
    numbers: (raw, at, out) => crumbs(raw, at + 16, out),
    blocks: {
      bits: 4,
      signed: false,
      read: (raw, at, scales, mins) => {
        for (let i = 0; i < 16; i++) {
          scales[i] = raw[at + i]! & 15
          mins[i] = raw[at + i]! >> 4
        }
      },
    },
  },
  Q3_K: {
    low: 2,
    high: 1,
    offset: 4,
    block: 16,
    scale: 108,
    numbers: (raw, at, out) => {
      crumbs(raw, at + 32, out)
      addBits(raw, at, 2, out)
    },
    blocks: {
      bits: 8,
      signed: true,
      read: (raw, at, scales) => {
        for (let i = 0; i < 16; i++) {
          const low = i < 8 ? raw[at + 96 + i]! & 15 : raw[at + 88 + i]! >> 4
          scales[i] = (low | (((raw[at + 104 + (i & 3)]! >> ((i >> 2) << 1)) & 3) << 4)) - 32
        }
      },
    },
  },
  Q4_K: { low: 4, offset: 0, block: 32, scale: 0, min: 2, numbers: (raw, at, out) => nibbles(raw, at + 16, out), blocks: SIX_BITS },
  Q5_K: {
    low: 4,
    high: 1,
    offset: 0,
    block: 32,
    scale: 0,
    min: 2,
    numbers: (raw, at, out) => {
      nibbles(raw, at + 48, out)
      addBits(raw, at + 16, 4, out)
    },
    blocks: SIX_BITS,
  },
  Q6_K: {
    low: 4,
    high: 2,
    offset: 32,
    block: 16,
    scale: 208,
    numbers: (raw, at, out) => {
      for (let i = 0; i < 256; i++) {
        const [half, run, place] = [i >> 7, (i >> 5) & 3, i & 31]
        const low = (raw[at + half * 64 + (run & 1) * 32 + place]! >> ((run >> 1) << 2)) & 15
        out[i] = low | (((raw[at + 128 + half * 32 + place]! >> (run << 1)) & 3) << 4)
      }
    },
    blocks: {
      bits: 8,
      signed: true,
      read: (raw, at, scales) => {
        for (let i = 0; i < 16; i++) scales[i] = (raw[at + 192 + i]! << 24) >> 24
      },
    },
  },
}
