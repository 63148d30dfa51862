import { createHash } from 'node:crypto'
import { existsSync, lutimesSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'

/** Where a thousand small folders are soon made: in memory, where the machine has such a place. */
export const QUICK = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** What lies under a folder: relative path -> bytes of a file, null for a folder. */
export type Tree = ReadonlyMap<string, Buffer | null>

/** Everything under a folder that is there. */
export function readTree(folder: string): Tree {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return [relative(folder, path), entry.isDirectory() ? null : readFileSync(path)]
    }),
  )
}

/**
 * Makes a folder that holds a tree, last touched a month ago: whoever left it there is gone by the clock as well, and a
 * lock in it is stale.
 */
export function writeTree(folder: string, tree: Tree): void {
  mkdirSync(folder, { recursive: true })
  for (const [path, bytes] of tree) {
    mkdirSync(bytes ? dirname(join(folder, path)) : join(folder, path), { recursive: true })
    if (bytes) writeFileSync(join(folder, path), bytes)
  }
  makeOld(folder)
}

/** Sets the times of everything under a folder back by a month. */
export function makeOld(folder: string): void {
  const then = new Date(Date.now() - 30 * 24 * 3600 * 1000)
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) lutimesSync(join(folder, path), then, then)
}

/** The same for two trees that hold the same. */
export function treeHash(tree: Tree): string {
  const hash = createHash('sha256')
  for (const path of [...tree.keys()].sort()) {
    const bytes = tree.get(path)
    hash.update(`${JSON.stringify(path)} ${bytes ? bytes.byteLength : 'folder'}\n`).update(bytes ?? '')
  }
  return hash.digest('hex')
}

/** The part of a tree whose paths satisfy a condition. */
export function partOf(tree: Tree, has: (path: string) => boolean): Tree {
  return new Map([...tree].filter(([path]) => has(path)))
}

/** One line for each path where `found` is not as `expected` has it; paths that are in `found` alone are not asked for. */
export function missing(expected: Tree, found: Tree): string[] {
  return [...expected].flatMap(([path, bytes]) => {
    const other = found.get(path)
    if (other === undefined) return [`${path} is gone`]
    return (bytes === null) === (other === null) && (bytes === null || bytes.equals(other!)) ? [] : [`${path} is another`]
  })
}
