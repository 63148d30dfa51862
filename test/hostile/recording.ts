// Run by itself: does what a log is wanted of, in the folder $WATCHED, and marks in the log what begins and what has resolved.
import { truncateSync } from 'node:fs'
import { CID } from 'multiformats/cid'
import { fragment, getFolder, openStore, putFolder, seal } from '../../src/api/index.js'
import { pullAsset, repairAsset } from '../../src/transport/pull.js'
import { blocksIn } from './blocks-on-disk.js'
import { logChange } from './disk-log.js'
import { unwatched } from './watched-calls.js'

const disk = process.env.WATCHED!
const [what, ...args] = process.argv.slice(2)

async function marked<T>(name: string, call: () => Promise<T>): Promise<T> {
  logChange(() => ({ op: 'begin', what: name }))
  const result = await call()
  logChange(() => ({ op: 'done', what: name }))
  return result
}

/** Adds `a` to a store, pins it, and removes it again. */
async function storing(path: string): Promise<void> {
  const store = await openStore(`${disk}/${path}`)
  const { cid } = await marked('add', () => fragment(`${disk}/a`, { store }))
  await marked('pin', () => store.pin(cid))
  await marked('unpin', () => store.unpin(cid))
  await marked('remove', () => store.remove(cid))
}

/** Begins to pull an asset and breaks off, goes on, collects, pins, and removes it again. */
async function pulling(path: string, blocks: string, cid: string): Promise<void> {
  const store = await openStore(`${disk}/${path}`)
  const asset = CID.parse(cid)
  await pullAsset(asset, { store, blocks: blocksIn(blocks, { most: 5 }) }).catch(() => undefined)
  await marked('add', () => pullAsset(asset, { store, blocks: blocksIn(blocks) }))
  await marked('collect', () => store.gc({ unfinishedAfter: 0 }))
  await marked('pin', () => store.pin(cid))
  await marked('unpin', () => store.unpin(cid))
  await marked('remove', () => store.remove(cid))
}

/** Pulls an asset, and mends all that can be damaged in it. */
async function mending(path: string, blocks: string, cid: string): Promise<void> {
  const store = await openStore(`${disk}/${path}`)
  const options = { store, blocks: blocksIn(blocks) }
  await pullAsset(CID.parse(cid), options)
  const { manifest, nodes } = await store.describe(cid)
  const [file, other] = [...manifest.files.values()]
  for (const path of [
    store.layout.file(String(file!.cid)),
    store.layout.sidecar(String(other!.cid)),
    store.layout.node(String(nodes[0]!.cid)),
  ])
    unwatched(() => truncateSync(path, 7))
  await marked('mend', () => repairAsset(CID.parse(cid), options))
}

/** Makes folders: of a checkpoint, of an asset in the store, in place of fragments; and takes one of them into the store. */
async function making(cid: string): Promise<void> {
  const store = await openStore(`${disk}/store`)
  await marked('written', () => fragment(`${disk}/a`, { out: `${disk}/out/of/a/written` }))
  await marked('got', () => getFolder(store, cid, `${disk}/got`))
  await marked('sealed', () => seal(`${disk}/sealed`))
  await marked('put', () => putFolder(store, `${disk}/sealed`))
}

if (what === 'storing') await storing(args[0]!)
else if (what === 'mending') await mending(args[0]!, args[1]!, args[2]!)
else if (what === 'pulling') await pulling(args[0]!, args[1]!, args[2]!)
else await making(args[0]!)
