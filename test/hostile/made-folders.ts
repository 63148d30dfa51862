import type { CID } from 'multiformats/cid'
import { Retriever } from '../../src/transport/retriever.js'
import { MadeDag, type MadeLink } from '../transport/dags.js'

export const dag = () => new MadeDag()
/** A made DAG and its root. */
export type Made = readonly [MadeDag, CID]

/** A folder with one name that leads to what `make` makes. */
export function holding(make: (made: MadeDag) => CID, name = 'f'): Made {
  const made = dag()
  return [made, made.folder([{ name, cid: make(made), size: 1 }])]
}

/** `depth` nodes above a leaf of one byte. */
export function chain(made: MadeDag, depth: number): CID {
  let cid = made.leaf('x')
  for (let level = 0; level < depth; level++) cid = made.file([{ cid, size: 1 }])
  return cid
}

/** A shard of a large folder. */
export const shard = (made: MadeDag, fanOut: bigint, links: readonly MadeLink[]) =>
  made.node({ type: 'HAMT_SHARD' as never, fanOut, hashType: 0x22n }, links)

/** As a retriever gives them: odd CIDs are refused and each block is what its CID says. */
export function retrieved(made: MadeDag) {
  const broker = { name: 'made', block: async (cid: CID) => made.all.get(String(cid)) }
  const retriever = new Retriever([broker])
  return (cid: CID, options: { limit: number }) => retriever.block(cid, options)
}
