import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { compareUtf8 } from '../core/paths.js'

/** A module that owns tensors: its key, the path of its fragment, and its own tensors by full name. */
export interface Module {
  readonly key: string
  readonly path: string
  readonly tensors: readonly string[]
}

interface Branch {
  readonly children: Map<string, Branch>
  readonly own: string[]
}

/** The module key of a tensor: its name without the last segment (`''` for a tensor of the root). */
export function moduleKey(tensor: string): string {
  const dot = tensor.lastIndexOf('.')
  return dot < 0 ? '' : tensor.slice(0, dot)
}

/**
 * The modules that own the given tensors, in the order of their fragment paths. A module without submodules is the
 * file `modules/a/b.safetensors`, one with submodules keeps its own tensors in `modules/a/b/@own.safetensors`; so a
 * leaf is a file, everything else a folder, and no tensor name is trusted as a path.
 * @throws AssetError 'LIMIT' where a key has too many segments, or is too long for a file name or path.
 */
export function moduleTree(tensors: Iterable<string>): Module[] {
  const root: Branch = { children: new Map(), own: [] }
  for (const name of tensors) {
    let branch = root
    const segments = name.split('.').slice(0, -1)
    if (segments.length > LIMITS.keySegments) throw tooLong(name, `has more than ${LIMITS.keySegments} segments`)
    for (const segment of segments) {
      const next = branch.children.get(segment) ?? { children: new Map(), own: [] }
      branch.children.set(segment, next)
      branch = next
    }
    branch.own.push(name)
  }
  const modules: Module[] = []
  collect(root, [], 'modules', modules)
  return modules.sort((a, b) => compareUtf8(a.path, b.path))
}

function collect(branch: Branch, keys: readonly string[], path: string, modules: Module[]): void {
  const isLeaf = branch.children.size === 0 && keys.length > 0
  if (branch.own.length > 0) {
    const file = `${path}${isLeaf ? '' : '/@own'}.safetensors`
    if (file.length > LIMITS.fragmentPath) throw tooLong(keys.join('.'), `is longer than ${LIMITS.fragmentPath} bytes as a path`)
    modules.push({ key: keys.join('.'), path: file, tensors: branch.own.sort(compareUtf8) })
  }
  const folded = new Map<string, number>()
  for (const segment of branch.children.keys()) folded.set(segment.toLowerCase(), (folded.get(segment.toLowerCase()) ?? 0) + 1)
  for (const [segment, child] of branch.children) {
    const clash = folded.get(segment.toLowerCase())! > 1
    collect(child, [...keys, segment], `${path}/${encodeSegment(segment, clash)}`, modules)
  }
}

/**
 * A key segment as a file name: bytes outside `[A-Za-z0-9_-]` percent-encoded, upper-case letters too where a sibling
 * differs only by case (some file systems fold it); an empty segment is a lone `%`, which no other segment can be.
 */
export function encodeSegment(segment: string, caseClash: boolean): string {
  const plain = caseClash ? /[a-z0-9_-]/ : /[A-Za-z0-9_-]/
  let encoded = ''
  for (const byte of Buffer.from(segment, 'utf8')) {
    const char = String.fromCharCode(byte)
    encoded += plain.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  if (encoded.length > LIMITS.pathSegment) throw tooLong(segment, `is longer than ${LIMITS.pathSegment} bytes as a file name`)
  return encoded === '' ? '%' : encoded
}

function tooLong(key: string, why: string): AssetError {
  return new AssetError('LIMIT', `Cannot name a fragment for the module key ${JSON.stringify(key.slice(0, 60))}...: it ${why}`)
}
