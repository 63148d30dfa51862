import { constants } from 'node:fs'

const WASM_PAGE = 64 * 1024

// Of the types of the DOM, which are not loaded, this is all that is needed.
declare const WebAssembly: { readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer } }

/**
 * Memory that begins at the address of a page, as direct reads and writes need it: of JavaScript's memory only that of WebAssembly is
 * known to. Undefined where there is none, as where addresses are limited.
 */
export function alignedBytes(size: number): Uint8Array<ArrayBuffer> | undefined {
  try {
    const pages = Math.ceil(size / WASM_PAGE)
    return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer, 0, size)
  } catch {
    return undefined
  }
}

/** The flag that opens a file past the page cache; undefined where the system has none. */
export const DIRECT: number | undefined = process.platform === 'linux' ? constants.O_DIRECT : undefined
