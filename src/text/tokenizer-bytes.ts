// Measured in fresh processes with vocabularies of 32 and 128 thousand entries and their merges: 11.2 to 11.6 bytes of memory
// for each byte of tokenizer.json, most of it what is left of reading it.
const PER_BYTE = 12
// Of files below this nothing could be measured beside the process's own memory.
const UNNOTICED = 256 * 1024

/** Bytes of memory that a tokenizer.json of `size` bytes takes; an estimate, from above. */
export function tokenizerBytes(size: number): number {
  return size < UNNOTICED ? 0 : size * PER_BYTE
}
