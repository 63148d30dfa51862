import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A temporary folder that is removed when the test ends: `await using folder = await temporary()`. */
export async function temporary(parent: string = tmpdir()): Promise<{
  path: string
  write(name: string, bytes: Uint8Array | string): Promise<string>
  [Symbol.asyncDispose](): Promise<void>
}> {
  const path = await mkdtemp(join(parent, 'masset-test-'))
  return {
    path,
    async write(name, bytes) {
      const target = join(path, name)
      await mkdir(dirname(target), { recursive: true })
      await writeFile(target, bytes)
      return target
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** The bytes of a safetensors file with this header, as an object or as text, and this much data. */
export function safetensors(header: object | string, data: Uint8Array | number): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.byteLength))
  return Buffer.concat([length, json, typeof data === 'number' ? Buffer.alloc(data) : data])
}

/** A small checkpoint out of tensors of F32 zeros to n. */
export function checkpointBytes(names: readonly string[]): Uint8Array {
  const entries = names.map((name, at): [string, object] => [name, { dtype: 'F32', shape: [2, 2], data_offsets: [at * 16, at * 16 + 16] }])
  const json = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`
  return safetensors(json, new Uint8Array(Float32Array.from({ length: names.length * 4 }, (_, i) => i).buffer))
}
