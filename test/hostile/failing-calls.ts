// Run by itself, in the folder $WATCHED: fragments a checkpoint, pulls, imports or exports an asset, while one call of `node:fs` after the
// other fails, and looks what that leaves. Prints what is wrong, one line each.
import { cpSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { basename, join } from 'node:path'
import { CID } from 'multiformats/cid'
import { AssetError, exportCar, type FragmentResult, fragment, importCar, openStore, verify } from '../../src/api/index.js'
import { pullAsset } from '../../src/transport/pull.js'
import { blocksIn } from './blocks-on-disk.js'
import { readLog } from './disk-log.js'
import { DiskModel } from './disk-model.js'
import { arm, disarm, type Fault, type Kind } from './faults.js'
import { missing, partOf, readTree, type Tree, treeHash } from './trees.js'

/** What it is told: a folder with a checkpoint `a` and a store that holds `b`; where `a` goes; which faults at which first call. */
export interface FailingCalls {
  readonly base: string
  readonly target: 'store' | 'out' | 'pull' | 'import' | 'export'
  /** the blocks that are pulled, the CAR that is imported, and the asset's CID */
  readonly blocks?: string
  readonly car?: string
  readonly cid?: string
  readonly faults: readonly { readonly deed: Fault['deed']; readonly kinds: readonly Kind[]; readonly lasting?: boolean }[]
  /** the first and the last call that are failed; all when left out */
  readonly first?: number
  readonly last?: number
}

/** What it answers: how often a call failed, how often the product succeeded all the same. */
export interface FailureReport {
  readonly struck: number
  readonly unharmed: number
  readonly problems: readonly string[]
}

const task = JSON.parse(process.argv[2]!) as FailingCalls
// Locks, marks, staging and what has arrived of something are not part of what is in a store.
const settled = (tree: Tree) =>
  partOf(tree, (path) => !basename(path).startsWith('lock') && !/^store\/(tmp\/|uses|(arriving|partial)\/)/.test(path))
const base = settled(readTree(task.base))
let runs = 0

async function attempt(disk: string): Promise<Pick<FragmentResult, 'cid' | 'files'>> {
  if (task.target === 'out') return fragment(join(disk, 'a'), { out: join(disk, 'made/out') })
  const store = await openStore(join(disk, 'store'))
  if (task.target === 'store') return fragment(join(disk, 'a'), { store })
  if (task.target === 'pull') return pullAsset(CID.parse(task.cid!), { store, blocks: blocksIn(task.blocks!) })
  if (task.target === 'import') return importCar(task.car!, { store })
  await exportCar(task.cid!, join(disk, 'out.car'), { store })
  return { cid: task.cid!, files: 1 }
}

function fresh(): string {
  const disk = join(process.env.WATCHED!, String(runs++))
  cpSync(task.base, disk, { recursive: true, preserveTimestamps: true })
  return disk
}

/** What the disk is after a run without a fault, which has been verified. */
async function goal(): Promise<{ cid: string; tree: Tree; files: number }> {
  const disk = fresh()
  const { cid, files } = await attempt(disk)
  const { damage } = await verify(task.target === 'out' ? join(disk, 'made/out') : cid, { store: await openStore(join(disk, 'store')) })
  if (damage.length > 0) throw new Error(damage.join())
  return { cid, files, tree: settled(readTree(disk)) }
}

const wanted = await goal()

function complaint(error: unknown): string[] {
  if (!(error instanceof AssetError)) return [`rejects with ${error instanceof Error ? error.stack : error}`]
  if (error.code !== 'IO') return [`rejects with ${error.code}: ${error.message}`]
  return /^Cannot [^\n]+: [^\n]+; [^\n]+$/.test(error.message) ? [] : [`says ${JSON.stringify(error.message)}`]
}

/** What is wrong after a call that succeeded in spite of the fault: all must be there, and safe. */
function promised(disk: string, tree: Tree): string[] {
  if (treeHash(tree) !== treeHash(wanted.tree)) return ['succeeds, but the asset is not whole']
  const model = new DiskModel(disk, readTree(task.base))
  for (const change of readLog(process.env.DISK_LOG!)) model.apply(change)
  return missing(wanted.tree, model.safe()).map((line) => `succeeds, but if the power failed now, ${line}`)
}

/** What is wrong after a call that failed: files of the asset may stay, where they are whole. */
function remains(tree: Tree): string[] {
  const added = partOf(tree, (path) => !base.has(path) && tree.get(path) !== null)
  const strange = [...added].filter(([path, bytes]) => !wanted.tree.get(path)?.equals(bytes!)).map(([path]) => `leaves ${path}`)
  const early = [...tree.keys()].some((path) => path.startsWith('made/') || path === 'out.car')
  return early ? [...strange, 'leaves something where the new folder or file should be'] : strange
}

const mended = new Map<string, string[]>()

/** What is wrong when the same is tried again without a fault; the same disk is tried once. */
async function again(disk: string): Promise<string[]> {
  const before = treeHash(readTree(disk))
  const known = mended.get(before)
  if (known) return known
  const { cid } = await attempt(disk).catch((error: unknown) => ({ cid: `the error ${error}` }))
  const problems = cid === wanted.cid ? [] : [`a rerun gives ${cid}`]
  if (treeHash(settled(readTree(disk))) !== treeHash(wanted.tree)) problems.push('a rerun does not mend it')
  mended.set(before, problems)
  return problems
}

async function oneFault(fault: Fault): Promise<{ struck: boolean; failed: boolean; problems: string[] }> {
  const disk = fresh()
  truncateSync(process.env.DISK_LOG!)
  arm(fault)
  const late = AbortSignal.timeout(10_000)
  const hung = new Promise<never>((_, reject) => late.addEventListener('abort', () => reject(new Error('it hangs'))))
  const outcome = await Promise.race([attempt(disk), hung]).catch((error: unknown) => ({ error }))
  const { struck } = disarm()
  const failed = 'error' in outcome
  const problems = failed ? complaint(outcome.error) : []
  const tree = settled(readTree(disk))
  problems.push(...missing(base, tree), ...(failed ? remains(tree) : promised(disk, tree)))
  const staged = readdirSync(join(disk, 'store/tmp'))
  if (staged.length > 0) problems.push(`leaves ${staged} in the staging folder`)
  if (failed) problems.push(...(await again(disk)))
  rmSync(disk, { recursive: true })
  return { struck: struck > 0, failed, problems }
}

const report = { struck: 0, unharmed: 0, problems: [] as string[] }
for (const fault of task.faults) {
  for (let at = task.first ?? 1; at <= (task.last ?? Number.POSITIVE_INFINITY); at++) {
    const { struck, failed, problems } = await oneFault({ ...fault, at })
    if (!struck && failed) report.problems.push(`${JSON.stringify(fault)}: fails without a fault`)
    if (!struck) break
    report.struck++
    if (!failed) report.unharmed++
    report.problems.push(...problems.map((line) => `${fault.lasting ? 'from' : 'at'} ${fault.kinds} ${at}, ${fault.deed}: ${line}`))
    if (problems.some((line) => line.includes('it hangs'))) break
  }
}
// What hangs would keep the process.
process.stdout.write(JSON.stringify(report satisfies FailureReport), () => process.exit())
