import { describe, expect, it } from 'vitest'
import { exportCar, fragment, openStore } from '../../src/api/index.js'
import { decoderConfig, decoderWeights } from '../models/synthetic.js'
import { checkpointBytes, safetensors, temporary } from '../sources/files.js'
import { noise, writeAssetFolder } from '../transport/assets.js'
import { writeBlocks } from './blocks-on-disk.js'
import { answerOf } from './children.js'
import type { FailingCalls, FailureReport } from './failing-calls.js'
import { QUICK } from './trees.js'

const ONCE: FailingCalls['faults'] = (['ENOSPC', 'EIO', 'EMFILE'] as const).flatMap((deed) =>
  (['open', 'write', 'fsync', 'rename', 'mkdir'] as const).map((kind) => ({ deed, kinds: [kind] })),
)
const LASTING: FailingCalls['faults'] = [
  { deed: 'ENOSPC', kinds: ['write', 'mkdir'], lasting: true },
  { deed: 'EIO', kinds: ['write', 'fsync', 'rename', 'mkdir'], lasting: true },
  { deed: 'EMFILE', kinds: ['open'], lasting: true },
]

/** Fails calls while a checkpoint is fragmented beside an asset that was stored before. */
async function failing(
  task: Omit<FailingCalls, 'base'>,
  preloads: readonly string[] = ['one-thread', 'watch-disk'],
  checkpoint: Record<string, Uint8Array | string> = { 'model.safetensors': checkpointBytes(['x.weight', 'y.weight', 'z.weight']) },
): Promise<FailureReport> {
  await using folder = await temporary(QUICK)
  for (const [name, bytes] of Object.entries(checkpoint)) await folder.write(`base/a/${name}`, bytes)
  await folder.write('b/model.safetensors', checkpointBytes(['x.weight', 'w.weight']))
  const { cid } = await fragment(`${folder.path}/b`, { store: await openStore(`${folder.path}/base/store`) })
  const json = JSON.stringify({ cid, ...task, base: `${folder.path}/base` } satisfies FailingCalls)
  return await answerOf<FailureReport>(preloads, 'failing-calls', [json], {
    WATCHED: `${folder.path}/scratch`,
    DISK_LOG: `${folder.path}/log`,
  })
}

/** A Llama whose head is its embedding, twice in the file. */
function tiedCheckpoint(): Record<string, Uint8Array | string> {
  let at = 0
  const entries = [...decoderWeights()].map(([name, { dtype, shape, length }]): [string, object] => {
    at += length
    return [name, { dtype, shape, data_offsets: [at - length, at] }]
  })
  const config = JSON.stringify({ ...decoderConfig, tie_word_embeddings: true })
  return { 'model.safetensors': safetensors(Object.fromEntries(entries), at), 'config.json': config }
}

describe('52: whichever call a disk fails, it says so in one line, leaves nothing half-written, and the next try succeeds,', () => {
  it.each(['store', 'out'] as const)('once, while fragmenting into: %s', async (target) => {
    const { struck, problems } = await failing({ target, faults: ONCE })
    expect(problems).toEqual([])
    expect(struck).toBeGreaterThan(100)
  })

  it.each(['store', 'out'] as const)('for good, while fragmenting into: %s', async (target) => {
    const { struck, problems } = await failing({ target, faults: LASTING })
    expect(problems).toEqual([])
    expect(struck).toBeGreaterThan(30)
  })

  it.each(
    (['pull', 'import'] as const).flatMap((target) => [
      [`${target}, once`, target, ONCE] as const,
      [`${target}, for good`, target, LASTING] as const,
    ]),
  )('while an asset comes into the store: %s', async (_how, target, faults) => {
    await using folder = await temporary(QUICK)
    const [blocks, car] = [`${folder.path}/blocks`, `${folder.path}/asset.car`]
    const asset = await writeAssetFolder(folder, 'asset', { 'a/large': noise(1024 * 1024 + 5, 1), b: noise(9, 2) })
    const cid = await writeBlocks(asset, blocks)
    await exportCar(asset, car)
    const { struck, problems } = await failing({ target, faults, blocks, car, cid })
    expect(problems).toEqual([])
    expect(struck).toBeGreaterThan(30)
  })

  it.each([
    ['once', ONCE],
    ['for good', LASTING],
  ])('%s, while exporting an asset', async (_how, faults) => {
    const { struck, problems } = await failing({ target: 'export', faults })
    expect(problems).toEqual([])
    expect(struck).toBeGreaterThan(30)
  })

  it('while comparing tied weights', async () => {
    const { struck, problems } = await failing(
      { target: 'out', faults: [{ deed: 'EIO', kinds: ['open'] }], last: 12 },
      undefined,
      tiedCheckpoint(),
    )
    expect(problems).toEqual([])
    expect(struck).toBe(12)
  })

  it('in a thread of the pool', async () => {
    const faults: FailingCalls['faults'] = [
      { deed: 'ENOSPC', kinds: ['write'] },
      { deed: 'EIO', kinds: ['fsync'] },
    ]
    const { struck, problems } = await failing({ target: 'store', faults, last: 2 }, ['watch-disk'])
    expect(problems).toEqual([])
    expect(struck).toBe(4)
  })

  it('but for the removal of what is no longer needed: that is left to be swept, and does not hide how the call ended', async () => {
    const { unharmed, problems } = await failing({ target: 'store', faults: [{ deed: 'EIO', kinds: ['remove'] }], first: 3, last: 3 })
    expect(problems).toEqual([expect.stringMatching(/leaves \S+ in the staging folder$/)])
    expect(unharmed).toBe(1)
  })
})
