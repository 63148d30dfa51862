import { mkdir, open, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { encodeInto, openStore, type Store } from '../../src/api/index.js'
import { startGateway } from '../../src/server/gateway/server.js'

const MIB = 1024 * 1024

/** Files of every shape that a DAG has: path -> size in bytes. */
const SIZES: Record<string, number> = {
  empty: 0,
  one: 1,
  'leaf less one': MIB - 1,
  leaf: MIB,
  'leaf and one': MIB + 1,
  'in folders/of many leaves': 5 * MIB + 12345,
  'in folders/twice': 3 * MIB + 1,
  'in folders/once more': 3 * MIB + 1,
}

/** Writes a folder with files of all shapes, two of them the same, and a folder of so many files that it is sharded; `huge`: also a file of three levels. */
export async function makeShapes(folder: string, { huge = false } = {}): Promise<void> {
  const sizes = { ...SIZES, ...(huge && { huge: 1030 * MIB + 7 }) }
  for (const [path, size] of Object.entries(sizes)) {
    const place = join(folder, path)
    await mkdir(dirname(place), { recursive: true })
    const handle = await open(place, 'w')
    await handle.truncate(size)
    // No two leaves are alike, nor two files but those of the same size.
    for (let at = 0; at + 20 < size; at += MIB / 2) await handle.write(`${size} ${at}`, at)
    await handle.close()
  }
  await mkdir(join(folder, 'many'))
  for (let i = 0; i < 5000; i++) await writeFile(join(folder, 'many', `one of many files, number ${i}`), String(i))
}

/** A store with such a folder, the gateway in front of it, and what its blocks are. */
export async function serveShapes(place: string, options: { huge?: boolean } = {}) {
  await mkdir(place, { recursive: true })
  await makeShapes(join(place, 'shapes'), options)
  const store = await openStore(join(place, 'store'))
  const cid = await encodeInto(store, join(place, 'shapes'))
  return { cid, ...(await serve(store)) }
}

/** A gateway in front of a store, on a free port of loopback, and what it complained of. */
export async function serve(store: Store) {
  const problems: string[] = []
  const gateway = await startGateway(store, { host: '127.0.0.1', port: 0, onProblem: (line) => problems.push(line) })
  return { store, gateway, problems }
}
