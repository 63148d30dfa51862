import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Change, readLog } from './disk-log.js'
import { DiskModel, seeded } from './disk-model.js'
import { readTree, type Tree, treeHash, writeTree } from './trees.js'

/** What happened on a disk: how it was before, as a folder; how that folder was named then; and the log. */
export interface Recorded {
  readonly base: string
  readonly root: string
  readonly log: string
}

/** How many states a crash could leave were looked at, and what is wrong in them, one line each. */
export interface CrashReport {
  readonly states: number
  readonly problems: readonly string[]
}

/** What a crash after some change of a log could leave. */
export interface CrashState {
  /** how many changes were made, and which kind of loss it is */
  readonly label: string
  readonly tree: Tree
  /** calls that had begun, and those that had resolved */
  readonly begun: ReadonlySet<string>
  readonly done: ReadonlySet<string>
}

/**
 * The states that a crash after each change could leave, over a disk `root` that held `base`: what a killed process
 * leaves, what is safe alone, all names with contents cut, and some choices by seed.
 */
export function* crashStates(root: string, base: Tree, log: readonly Change[], choices: number): Generator<CrashState> {
  const model = new DiskModel(root, base)
  const [begun, done, seen] = [new Set<string>(), new Set<string>(), new Set<string>()]
  for (let changes = 0; changes <= log.length; changes++) {
    const states: [string, Tree][] = [
      ['killed', model.seen()],
      ['safe', model.safe()],
      ['emptied', model.cut(0)],
      ['cut', model.cut(0.6)],
    ]
    for (let choice = 0; choice < choices; choice++) {
      states.push([`choice ${choice}`, model.chosen(seeded(changes * choices + choice))])
    }
    for (const [loss, tree] of states) {
      const state = `${treeHash(tree)} ${begun.size} ${done.size}`
      if (!seen.has(state)) yield { label: `${changes} changes, ${loss}`, tree, begun: new Set(begun), done: new Set(done) }
      seen.add(state)
    }
    const next = log[changes]
    if (next?.op === 'begin') begun.add(next.what)
    else if (next?.op === 'done') done.add(next.what)
    else if (next) model.apply(next)
  }
}

/** The disk as it is after all changes, for comparison with the real one. */
export function replayed(root: string, base: Tree, log: readonly Change[]): Tree {
  const model = new DiskModel(root, base)
  for (const change of log) model.apply(change)
  return model.seen()
}

/** Rebuilds each state that a crash could leave, in a folder of its own, and gathers what `look` finds wrong there. */
export async function lookAtCrashes(
  { base, root, log }: Recorded,
  choices: number,
  look: (state: CrashState, folder: string) => Promise<readonly string[]>,
): Promise<CrashReport> {
  let states = 0
  const problems: string[] = []
  for (const state of crashStates(root, readTree(base), readLog(log), choices)) {
    const folder = join(process.env.WATCHED!, String(states++))
    writeTree(folder, state.tree)
    for (const line of await look(state, folder)) problems.push(`${state.label}: ${line}`)
    rmSync(folder, { recursive: true })
  }
  return { states, problems }
}
