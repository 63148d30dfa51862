import type { Readable } from '../core/read.js'

/** A file that is elsewhere. It never changes while it is mounted: whoever reads it sees to that. */
export interface RemoteFile extends Readable {
  readonly size: number
  /** Fills `target` with its bytes from `position` on, of which there must be enough; unlike `read` it asks for no more. */
  fill(target: Uint8Array, position: number): Promise<void>
}

/** What stands at a path: a file that is elsewhere, or the path where a file of this disk really is. */
export type Mounted = RemoteFile | string

const mounts = new Map<string, ReadonlyMap<string, Mounted>>()

/**
 * Makes files readable as those of a folder that is on no disk, so that whoever reads checkpoints need not know. Gives the path
 * of that folder, `name` or much the same, and the call that ends it.
 */
export function mount(name: string, files: ReadonlyMap<string, Mounted>): { readonly path: string; readonly unmount: () => void } {
  let path = name
  for (let n = 2; mounts.has(path); n++) path = `${name} (${n})`
  mounts.set(path, files)
  return { path, unmount: () => mounts.delete(path) }
}

/** The mount that a path lies in, and its path in there: empty for the folder itself. */
function inMount(path: string): { readonly files: ReadonlyMap<string, Mounted>; readonly inside: string } | undefined {
  if (mounts.size === 0) return undefined
  const plain = path.replaceAll('\\', '/')
  for (const [root, files] of mounts) {
    if (plain === root) return { files, inside: '' }
    if (plain.startsWith(`${root}/`)) return { files, inside: plain.slice(root.length + 1) }
  }
  return undefined
}

/** True for a path in a mounted folder, or of one, whether something is there or not. */
export function isMounted(path: string): boolean {
  return inMount(path) !== undefined
}

/** What is mounted at a path, if anything is. */
export function mountedAt(path: string): Mounted | undefined {
  const found = inMount(path)
  return found?.files.get(found.inside)
}

/** The names in a mounted folder; undefined for one that is not mounted. */
export function mountedIn(folder: string): { readonly name: string; readonly isFolder: boolean }[] | undefined {
  const found = inMount(folder)
  if (!found) return undefined
  const prefix = found.inside === '' ? '' : `${found.inside}/`
  const names = new Map<string, boolean>()
  for (const path of found.files.keys()) {
    if (!path.startsWith(prefix)) continue
    const [name, ...below] = path.slice(prefix.length).split('/')
    names.set(name!, below.length > 0)
  }
  return [...names].map(([name, isFolder]) => ({ name, isFolder }))
}
