// Run by itself, in the folder $WATCHED: pulls into a store, removes from it or collects what nobody needs, until a signal comes. What
// it was promised is in a log that survives it; prints how many calls of `node:fs` it took.
import { appendFileSync } from 'node:fs'
import { CID } from 'multiformats/cid'
import { openStore } from '../../src/api/index.js'
import { pullAsset } from '../../src/transport/pull.js'
import { blocksIn } from './blocks-on-disk.js'
import { disarm } from './faults.js'

/** What it is told. */
export interface Upkeep {
  readonly what: 'pull' | 'gc' | 'rm'
  readonly blocks: string
  readonly cid: string
  readonly log: string
}

const { what, blocks, cid, log } = JSON.parse(process.argv[2]!) as Upkeep
const store = await openStore(`${process.env.WATCHED}/store`)
if (what === 'gc') await store.gc()
else if (what === 'rm') await store.remove(cid)
else {
  const onProgress = ({ done }: { done: number }) => appendFileSync(log, `has ${done}\n`)
  await pullAsset(CID.parse(cid), { store, blocks: blocksIn(blocks, { log }), onProgress })
}
appendFileSync(log, 'done\n')
console.log(JSON.stringify(disarm().calls))
