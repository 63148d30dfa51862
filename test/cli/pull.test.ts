import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { openStore } from '../../src/api/index.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise, writeAssetFolder } from '../transport/assets.js'
import { serveBlocks } from '../transport/serve-blocks.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const MIB = 1024 * 1024

/** Runs `masset`; `when` is told of the process, to interrupt it. */
function massetIn(home: string, sources = '') {
  return (args: readonly string[], when?: (child: ReturnType<typeof spawn>) => void) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
      const env = { ...process.env, MODULE_ASSETS_HOME: home, MODULE_ASSETS_SOURCES: sources }
      const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
      let [stdout, stderr] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, stdout, stderr }))
      when?.(child)
    })
}

it('masset pull, interrupted by Ctrl-C, says what stays and goes on from there; then upkeep: ls, pin, rm, verify --repair, gc', async () => {
  await using folder = await temporary()
  const { cid, all } = await folderSource(
    await writeAssetFolder(folder, 'asset', { 'a/large': noise(12 * MIB + 7, 1), b: noise(2 * MIB, 2) }),
  )
  await using gateway = await serveBlocks(all)
  const home = `${folder.path}/store`
  const masset = massetIn(home)
  /** Pulls, and presses Ctrl-C when the root, the manifest, two nodes and a leaf have come. */
  const interrupted = async () => {
    gateway.delay = 150
    gateway.given.length = 0
    const ended = await masset(['pull', String(cid), '--from', gateway.source], (child) => {
      const timer = setInterval(() => {
        if (gateway.given.length < 5) return
        clearInterval(timer)
        child.kill('SIGINT')
      }, 5)
    })
    gateway.delay = 0
    return ended
  }
  expect(await interrupted()).toEqual({
    code: 1,
    stdout: '',
    stderr: `masset: Cannot finish to pull ${cid}: it was cancelled; what has arrived is kept, pull it again to go on\n`,
  })
  const before = gateway.given.length
  const done = await massetIn(home, gateway.source)(['pull', String(cid)])
  expect(done).toMatchObject({ code: 0, stdout: `${cid}\n` })
  expect(done.stderr).toMatch(/^fetched \d+ blocks?, [\d.]+ [KM]iB; \d+ blocks?, [\d.]+ [KM]?i?B were there\n$/)
  expect(gateway.given.slice(before)).not.toContain(String(cid))
  const again = await masset(['pull', String(cid), '--json'])
  expect(JSON.parse(again.stdout)).toMatchObject({ cid: String(cid), files: 3, fetched: { blocks: 0, bytes: 0 }, present: { blocks: 16 } })

  expect(await masset(['pin', String(cid)])).toMatchObject({ code: 0, stderr: `pinned ${cid}\n` })
  expect((await masset(['ls'])).stdout).toMatch(/dataset +14\.0 MiB +pinned\n$/)
  expect(await masset(['rm', String(cid)])).toMatchObject({ code: 2, stderr: expect.stringContaining('it is pinned; unpin it first') })
  expect(await masset(['unpin', String(cid)])).toMatchObject({ code: 0 })

  const store = await openStore(home)
  const path = store.layout.file(String((await store.describe(String(cid))).manifest.files.get('b')!.cid))
  const handle = await open(path, 'r+')
  await handle.write(Buffer.from('changed'), 0, 7, MIB + 9)
  await handle.close()
  expect(await masset(['verify', String(cid)])).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('Cannot read b of') })
  expect(await masset(['verify', String(cid), '--repair'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no source is known'),
  })
  expect(await masset(['verify', String(cid), '--from', gateway.source])).toMatchObject({ code: 2 })
  expect(await masset(['verify', String(cid), '--repair', '--from', gateway.source])).toMatchObject({
    code: 0,
    stdout: `${cid} is sound: 3 files, 14.0 MiB; fetched 1 block, 1.0 MiB\n`,
    stderr: 'repaired b\n',
  })
  expect(await masset(['verify', String(cid)])).toMatchObject({ code: 0 })

  expect(await masset(['gc'])).toMatchObject({ code: 0, stdout: '0 B freed, 0 files\n', stderr: '' })
  expect(await masset(['gc', '--unfinished-after', 'soon'])).toMatchObject({ code: 2, stderr: expect.stringContaining('a number of days') })
  await masset(['rm', String(cid)])
  expect(await interrupted()).toMatchObject({ code: 1 })
  const dry = await masset(['gc', '--dry-run', '--unfinished-after', '0'])
  expect(dry.stderr).toBe(`would give up ${cid}, of which not all had arrived\n`)
  expect(dry.stdout).toMatch(/ would be freed, \d+ files\n$/)
  const collected = JSON.parse((await masset(['gc', '--json', '--unfinished-after', '0'])).stdout)
  expect(collected).toMatchObject({ unfinished: [String(cid)] })
  expect(await masset(['gc', '--unfinished-after', '0'])).toMatchObject({ stdout: '0 B freed, 0 files\n' })
})

it('masset pull says in one line what is wrong', async () => {
  await using folder = await temporary()
  const masset = massetIn(`${folder.path}/store`)
  const cid = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'
  await using gateway = await serveBlocks(new Map())
  const failures: [string[], number, RegExp][] = [
    [['pull', cid], 2, /no source is known; name some \(--from/],
    [['pull', 'nonsense', '--from', gateway.source], 1, /it is not a CID/],
    [['pull', cid, '--from', 'nonsense'], 2, /Cannot use the source "nonsense"/],
    [['pull', cid, '--from', gateway.source], 1, /no source has it/],
  ]
  for (const [args, code, line] of failures) {
    const outcome = await masset(args)
    expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(line) })
    expect(outcome.stderr).toMatch(/^masset: Cannot [^\n]+\n$/)
  }
})
