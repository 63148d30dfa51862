import type { Dtype } from '../core/dtypes.js'
import { COMPACT_SUFFIX, SUPER_BLOCK } from '../graph/compact.js'
import { BLOCK_SIZE } from '../graph/low-bit.js'
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

/** True for a tensor that is a part of weights of few bits: their scales, and the like. */
function isPart({ tensors }: SafetensorsHeader, name: string): boolean {
  return Object.values(COMPACT_SUFFIX).some((suffix) => {
    const weight = suffix !== '' && name.endsWith(suffix) ? tensors.get(name.slice(0, -suffix.length)) : undefined
    return weight?.dtype === 'I8' || weight?.dtype === 'U8'
  })
}

/** The shape of a tensor; of weights that are several a byte, as their scales say. */
function wholeShape({ tensors }: SafetensorsHeader, name: string): readonly number[] {
  const { dtype, shape } = tensors.get(name)!
  const scales = dtype === 'U8' ? tensors.get(`${name}${COMPACT_SUFFIX.scale}`)?.shape.at(-1) : undefined
  if (scales === undefined) return shape
  return [...shape.slice(0, -1), scales * (tensors.has(`${name}${COMPACT_SUFFIX.blockScale}`) ? SUPER_BLOCK : BLOCK_SIZE)]
}

/** Sums up one fragment from its header. */
export function moduleInfo(path: string, cid: string, size: number, header: SafetensorsHeader): ModuleInfo {
  const tensors = [...header.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }))
  const weights = tensors.filter(({ name }) => !isPart(header, name))
  const parameters = weights.reduce((sum, { name }) => sum + wholeShape(header, name).reduce((product, dim) => product * dim, 1), 0)
  return { key: keyOfPath(path), path, cid, size, parameters, dtypes: [...new Set(tensors.map(({ dtype }) => dtype))], tensors }
}
