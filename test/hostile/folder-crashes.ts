// Run by itself: rebuilds what a crash at any moment of making asset folders could leave, in a folder under $WATCHED: a
// folder that has its name must be whole. Prints what is wrong, one line each.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { verify } from '../../src/api/index.js'
import { lookAtCrashes, type Recorded } from './crash-points.js'
import { readTree, treeHash } from './trees.js'

/** What it is told. */
export interface FolderCrashes extends Recorded {
  /** the folders by the calls that make them; `inPlace`: one that has its name from the beginning */
  readonly folders: readonly { readonly call: string; readonly path: string; readonly cid: string; readonly inPlace?: boolean }[]
  readonly choices: number
}

const task = JSON.parse(process.argv[2]!) as FolderCrashes
const known = new Map<string, string>()

/** `sound CID` or the first damage of an asset folder. */
async function lookAt(folder: string): Promise<string> {
  const hash = treeHash(readTree(folder))
  const sound = () => verify(folder).then(({ cid, damage }) => damage[0] ?? `sound ${cid}`)
  const found = known.get(hash) ?? (await sound().catch((error: Error) => error.message))
  known.set(hash, found)
  return found
}

const report = await lookAtCrashes(task, task.choices, async ({ done }, disk) => {
  const problems: string[] = []
  for (const { call, path, cid, inPlace } of task.folders) {
    const folder = join(disk, path)
    if (done.has(call) && !existsSync(folder)) problems.push(`${path} was made and is gone`)
    if (!existsSync(folder) || (inPlace && !done.has(call))) continue
    const found = await lookAt(folder)
    if (found !== `sound ${cid}`) problems.push(`${path} is not whole: ${found}`)
  }
  return problems
})
console.log(JSON.stringify(report))
