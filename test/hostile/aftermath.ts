import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fragment, openStore, verify } from '../../src/api/index.js'
import { partOf, readTree, treeHash } from './trees.js'

/** What is known of a store that a crash is to befall. */
export interface StoreFacts {
  /** where it is, beside the checkpoint `a` */
  readonly store: string
  /** the CID of the asset of `a`, which comes and goes; and of one that was stored before and stays */
  readonly cid: string
  readonly other?: string | undefined
}

/** What a store is after a crash: its assets, and what is wrong with it whatever had been acknowledged. */
export interface Aftermath {
  readonly pinned: ReadonlyMap<string, boolean>
  readonly problems: readonly string[]
}

const known = new Map<string, Aftermath>()

/** Opens a store that a crash left in `folder`, looks at all that is in it, adds the asset again and removes everything. */
export async function aftermath(folder: string, facts: StoreFacts): Promise<Aftermath> {
  const store = await openStore(join(folder, facts.store))
  const problems: string[] = []
  const staged = readdirSync(join(folder, facts.store, 'tmp'))
  if (staged.length > 0) problems.push(`not swept: ${staged}`)
  const hash = treeHash(readTree(folder))
  const before = known.get(hash)
  if (before) return { ...before, problems: [...problems, ...before.problems] }
  const pinned = new Map<string, boolean>()
  for (const asset of await store.list()) {
    pinned.set(asset.cid, asset.pinned)
    problems.push(...(await damageOf(folder, facts, asset.cid)).map((line) => `listed, but damaged: ${line}`))
  }
  if (facts.other !== undefined && !pinned.has(facts.other)) problems.push('the other asset is gone')
  problems.push(...(await again(folder, facts)))
  const found = { pinned, problems }
  known.set(hash, found)
  return found
}

async function damageOf(folder: string, facts: StoreFacts, cid: string): Promise<readonly string[]> {
  const store = await openStore(join(folder, facts.store))
  return verify(cid, { store }).then(
    ({ damage }) => damage,
    (error: Error) => [error.message],
  )
}

/** Adds the asset once more; it must be whole then, and the other as well; and when both are removed nothing is left. */
async function again(folder: string, facts: StoreFacts): Promise<string[]> {
  const store = await openStore(join(folder, facts.store))
  const result = await fragment(join(folder, 'a'), { store }).catch((error: Error) => error)
  if (result instanceof Error) return [`a rerun fails: ${result.message}`]
  const problems = result.cid === facts.cid ? [] : [`a rerun gives ${result.cid}`]
  for (const cid of facts.other === undefined ? [facts.cid] : [facts.cid, facts.other]) {
    problems.push(...(await damageOf(folder, facts, cid)).map((line) => `after a rerun: ${line}`))
    await store.unpin(cid)
  }
  for (const { cid } of await store.list())
    await store.remove(cid).catch((error: Error) => problems.push(`after a rerun: ${error.message}`))
  await store.gc({ unfinishedAfter: 0 })
  const left = partOf(readTree(join(folder, facts.store)), (path) => /^(arriving|assets|files|nodes|partial|pins|tmp)\b/.test(path))
  for (const [path, bytes] of left) if (bytes !== null) problems.push(`left when all is removed: ${path}`)
  return problems
}
