import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type FragmentOptions, fragment, openStore, type Store } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { fragmentDisguised } from './disguise.js'
import type { TestEngine } from './engines.js'

/** A store in a temporary folder, with real checkpoints fragmented into it. */
export interface TestStore {
  readonly store: Store
  readonly home: string
  /** the CID of a checkpoint beside the project; disguised where both engines are to run it */
  cid(name: string, engine?: TestEngine): Promise<string>
  remove(): Promise<void>
}

export async function testStore(): Promise<TestStore> {
  const home = await mkdtemp(join(tmpdir(), 'masset-test-'))
  const store = await openStore(home)
  const cids = new Map<string, Promise<string>>()
  return {
    store,
    home,
    cid(name, engine) {
      const key = `${name} ${engine === 'mixed'}`
      const cid = cids.get(key) ?? fragmentFor(sharedModel(name)!, store, engine)
      cids.set(key, cid)
      return cid
    },
    remove: () => rm(home, { recursive: true, force: true }),
  }
}

/** The CID of a checkpoint in the store; disguised where both engines are to run it. */
export async function fragmentFor(
  checkpoint: string,
  store: Store,
  engine: TestEngine | undefined,
  options: Pick<FragmentOptions, 'dtype'> = {},
): Promise<string> {
  return engine === 'mixed' ? fragmentDisguised(checkpoint, store, options) : (await fragment(checkpoint, { store, ...options })).cid
}

/** The golden outputs that lie beside a checkpoint. */
export async function golden<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(sharedModel(name)!, 'golden.json'), 'utf8'))
}

/** The largest absolute difference between two lists of numbers. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let worst = 0
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!))
  return worst
}

/** The ids of a matrix as an int64 tensor of its shape. */
export function idTensor(rows: readonly (readonly number[])[]) {
  return { type: 'int64' as const, data: BigInt64Array.from(rows.flat(), BigInt), dims: [rows.length, rows[0]!.length] }
}
