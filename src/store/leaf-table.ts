const DIGEST = 32

/** Where a leaf is: in which of the files, and the how manieth it is there. */
export interface LeafPlace {
  readonly file: number
  readonly leaf: number
}

/**
 * Finds leaves of many files by their digests. It takes 40 to 48 bytes a leaf, so 50 MB for a store of a terabyte: a table
 * with open addressing, since digests are spread evenly already.
 */
export class LeafTable {
  readonly #digests: Uint8Array
  readonly #view: DataView
  /** the number of the first leaf of each file, in order */
  readonly #starts: readonly number[]
  /** one more than the number of a leaf, at the first free place from its digest on */
  readonly #slots: Uint32Array
  readonly #mask: number

  /** `files`: the digests of the leaves of each file, 32 bytes each, one after the other. */
  constructor(files: readonly Uint8Array[]) {
    const starts: number[] = []
    let count = 0
    for (const leaves of files) {
      starts.push(count)
      count += leaves.byteLength / DIGEST
    }
    this.#starts = starts
    this.#digests = new Uint8Array(count * DIGEST)
    this.#view = new DataView(this.#digests.buffer)
    for (const [file, leaves] of files.entries()) this.#digests.set(leaves, starts[file]! * DIGEST)
    const size = 2 ** Math.ceil(Math.log2(count * 2 + 1))
    this.#slots = new Uint32Array(size)
    this.#mask = size - 1
    for (let leaf = 0; leaf < count; leaf++) {
      const slot = this.#slotOf(this.#digests.subarray(leaf * DIGEST, (leaf + 1) * DIGEST), this.#view.getUint32(leaf * DIGEST))
      // Several files may have the same leaf: one is as good as another.
      if (this.#slots[slot] === 0) this.#slots[slot] = leaf + 1
    }
  }

  /** The place of a leaf with this digest (32 bytes), if there is one. */
  find(digest: Uint8Array): LeafPlace | undefined {
    const start = new DataView(digest.buffer, digest.byteOffset, digest.byteLength).getUint32(0)
    const number = this.#slots[this.#slotOf(digest, start)]! - 1
    if (number < 0) return undefined
    let [low, high] = [0, this.#starts.length - 1]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#starts[middle]! <= number) low = middle
      else high = middle - 1
    }
    return { file: low, leaf: number - this.#starts[low]! }
  }

  /** The digests of the leaves of a file, as they were given. */
  digestsOf(file: number): Uint8Array {
    const [start, end] = [this.#starts[file]!, this.#starts[file + 1]]
    return this.#digests.subarray(start * DIGEST, end === undefined ? undefined : end * DIGEST)
  }

  /** The slot that has this digest, or else the free one where it belongs. */
  #slotOf(digest: Uint8Array, start: number): number {
    for (let slot = start & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const leaf = this.#slots[slot]! - 1
      if (leaf < 0 || Buffer.compare(digest, this.#digests.subarray(leaf * DIGEST, (leaf + 1) * DIGEST)) === 0) return slot
    }
  }
}
