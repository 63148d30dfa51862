// Run by itself: looks what is left on disks under $WATCHED on which a pull or a collection was killed, and does the same again.
// Prints what is wrong, one line each.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CID } from 'multiformats/cid'
import { openStore, verify } from '../../src/api/index.js'
import { pullAsset } from '../../src/transport/pull.js'
import { blocksIn } from './blocks-on-disk.js'
import { makeOld, partOf, readTree } from './trees.js'
import type { Upkeep } from './upkeep.js'

/** What it is told, beside what those who were killed were told. */
export interface UpkeepKills extends Omit<Upkeep, 'log'> {
  /** an asset that was there before */
  readonly other: string
  /** all paths of the store when all is well */
  readonly settled: readonly string[]
}

const task = JSON.parse(process.argv[2]!) as UpkeepKills
const problems: string[] = []
for (const name of readdirSync(process.env.WATCHED!)) {
  const disk = join(process.env.WATCHED!, name)
  for (const line of await lookAt(disk)) problems.push(`killed at call ${name}: ${line}`)
}
console.log(JSON.stringify(problems))

async function lookAt(disk: string): Promise<string[]> {
  const found: string[] = []
  const log = existsSync(join(disk, 'log')) ? readFileSync(join(disk, 'log'), 'utf8').trim().split('\n') : []
  makeOld(disk)
  const store = await openStore(join(disk, 'store'))
  const listed = (await store.list()).map(({ cid }) => cid)
  if (!listed.includes(task.other)) found.push('the other asset is gone')
  if (task.what === 'pull' && log.includes('done') && !listed.includes(task.cid)) found.push('it was pulled and is gone')
  for (const cid of listed) found.push(...(await damage(cid)))
  if (task.what === 'pull') found.push(...(await goOn(log)))
  await store.gc()
  for (const cid of (await store.list()).map((asset) => asset.cid)) found.push(...(await damage(cid)))
  const left = [...partOf(readTree(store.path), (path) => !/^(tmp|uses|lock)\b/.test(path))]
  const paths = left.filter(([, bytes]) => bytes).map(([path]) => path)
  if (paths.sort().join() !== task.settled.join()) found.push(`ends with ${paths.filter((path) => !task.settled.includes(path))}`)
  return found

  async function damage(cid: string): Promise<readonly string[]> {
    return verify(cid, { store }).then(
      (result) => result.damage,
      (error: Error) => [error.message],
    )
  }

  /** Pulls again: what had been said to be there is still there, and only the rest is fetched. */
  async function goOn(lines: readonly string[]): Promise<string[]> {
    const wrong: string[] = []
    const had = Math.max(0, ...lines.flatMap((line) => (line.startsWith('has ') ? [Number(line.slice(4))] : [])))
    const { bytes, present, fetched } = await pullAsset(CID.parse(task.cid), { store, blocks: blocksIn(task.blocks) })
    if (present.bytes < had) wrong.push(`${had} bytes were there, now ${present.bytes}`)
    // Beside leaves: the root and the manifest's leaf, counted as present, and a node above the leaves of each large file.
    const least = bytes - present.bytes
    if (fetched.bytes < least || fetched.bytes > least + 4096) wrong.push(`${fetched.bytes} bytes were fetched of ${least} missing`)
    return wrong
  }
}
