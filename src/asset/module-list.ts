import type { Dtype } from '../core/dtypes.js'
import type { SafetensorsHeader } from '../sources/safetensors.js'

/** A fragment as people want to see it: the module that it holds, its tensors, bytes and CID. */
export interface ModuleInfo {
  /** dotted module key; '' for the root */
  readonly key: string
  readonly path: string
  readonly cid: string
  /** bytes of the fragment */
  readonly size: number
  /** elements of all its tensors */
  readonly parameters: number
  readonly dtypes: readonly Dtype[]
  readonly tensors: readonly { readonly name: string; readonly dtype: Dtype; readonly shape: readonly number[] }[]
}

/** The module key that a fragment's path stands for: the reverse of the encoding in module-tree. */
export function keyOfPath(path: string): string {
  const segments = path.replace(/^modules\//, '').replace(/(\/?@own)?\.safetensors$/, '')
  return segments
    .split('/')
    .map((segment) => (segment === '%' ? '' : decodeURIComponent(segment)))
    .join('.')
}

function isScaleOf({ tensors }: SafetensorsHeader, name: string): boolean {
  const weight = name.endsWith('_scale') ? tensors.get(name.slice(0, -'_scale'.length)) : undefined
  return weight?.dtype === 'I8' || weight?.dtype === 'U8'
}

/** Sums up one fragment from its header. */
export function moduleInfo(path: string, cid: string, size: number, header: SafetensorsHeader): ModuleInfo {
  const tensors = [...header.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }))
  const parameters = tensors.reduce((sum, { name, dtype, shape }) => {
    // scales are part of their weight, whose numbers may be two a byte
    if (isScaleOf(header, name)) return sum
    const packed = dtype === 'U8' && header.tensors.has(`${name}_scale`) ? 2 : 1
    return sum + shape.reduce((product, dim) => product * dim, packed)
  }, 0)
  return { key: keyOfPath(path), path, cid, size, parameters, dtypes: [...new Set(tensors.map(({ dtype }) => dtype))], tensors }
}
