// Run by itself: does what a log is wanted of, in the folder $WATCHED, and marks in the log what begins and what has resolved.
import { fragment, getFolder, openStore, putFolder, seal } from '../../src/api/index.js'
import { logChange } from './disk-log.js'

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

/** Makes folders: of a checkpoint, of an asset in the store, in place of fragments; and takes one of them into the store. */
async function making(cid: string): Promise<void> {
  const store = await openStore(`${disk}/store`)
  await marked('written', () => fragment(`${disk}/a`, { out: `${disk}/out/of/a/written` }))
  await marked('got', () => getFolder(store, cid, `${disk}/got`))
  await marked('sealed', () => seal(`${disk}/sealed`))
  await marked('put', () => putFolder(store, `${disk}/sealed`))
}

if (what === 'storing') await storing(args[0]!)
else await making(args[0]!)
