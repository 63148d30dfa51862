import { type Dtype, dtypeSize, tensorBytes } from '../core/dtypes.js'
import { AssetError } from '../core/errors.js'
import { PAGE } from '../core/limits.js'
import { compareUtf8 } from '../core/paths.js'

/** What a fragment says of one tensor. */
export interface TensorShape {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
}

/** A tensor inside a fragment; `offset` counts from the start of the file. */
export interface PlacedTensor extends TensorShape {
  readonly offset: number
  readonly length: number
}

/** The canonical bytes of a fragment but for the data: header, and where each tensor goes. */
export interface FragmentLayout {
  readonly header: Uint8Array<ArrayBuffer>
  readonly tensors: readonly PlacedTensor[]
  readonly size: number
}

/**
 * Lays out one module's tensors as canonical safetensors: element size descending, then name by UTF-8 bytes; compact
 * JSON; the header padded with spaces so that data starts on a multiple of 4096. The same tensors give the same bytes
 * on every machine, so the same CID.
 * @throws AssetError 'BAD_INPUT' where a shape is impossible.
 */
export function layoutFragment(tensors: Iterable<TensorShape>): FragmentLayout {
  const ordered = [...tensors].sort((a, b) => dtypeSize(b.dtype) - dtypeSize(a.dtype) || compareUtf8(a.name, b.name))
  const entries = ['"__metadata__":{"format":"pt"}']
  const placed: (TensorShape & { begin: number; length: number })[] = []
  let end = 0
  for (const { name, dtype, shape } of ordered) {
    const length = tensorBytes(dtype, shape)
    if (length === undefined)
      throw new AssetError('BAD_INPUT', `Cannot lay out tensor ${JSON.stringify(name)}: its shape [${shape}] is impossible`)
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [end, end + length] })}`)
    placed.push({ name, dtype, shape: [...shape], begin: end, length })
    end += length
  }
  const json = Buffer.from(`{${entries.join(',')}}`, 'utf8')
  const dataStart = Math.ceil((8 + json.byteLength) / PAGE) * PAGE
  const header = new Uint8Array(dataStart).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(dataStart - 8), true)
  header.set(json, 8)
  return { header, tensors: placed.map(({ begin, ...tensor }) => ({ ...tensor, offset: dataStart + begin })), size: dataStart + end }
}
