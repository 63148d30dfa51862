import { execFile, spawn } from 'node:child_process'
import { mkdir, open, readdir, readFile, rename } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

describe('masset', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let cid: string
  const masset = (...args: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const env = { ...process.env, MODULE_ASSETS_HOME: `${folder.path}/store` }
      execFile(process.execPath, [CLI, ...args], { env }, (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
      )
    })
  beforeAll(async () => {
    folder = await temporary()
    cid = (await masset('fragment', DEMO, '--store')).stdout.trim().split('\n').at(-1)!
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  it('fragments, lists, inspects, plans, runs, verifies and removes', async () => {
    expect(cid).toMatch(/^bafy/)
    expect((await masset('ls')).stdout).toContain(cid)
    expect(JSON.parse((await masset('ls', '--json')).stdout)[0]).toMatchObject({ cid, kind: 'model' })
    expect((await masset('inspect', cid)).stdout).toContain('model.layers.3.mlp.up_proj')
    expect(JSON.parse((await masset('inspect', cid, '--json')).stdout).parameters).toBe(750_976)
    expect((await masset('inspect', cid, cid)).stdout).toMatch(/shared by content: \d+ files/)
    expect(JSON.parse((await masset('plan', cid, '--memory', '512KiB', '--json')).stdout)).toMatchObject({ budget: 524288 })
    expect(await masset('run', cid, '--prompt', 'the 3rd of March 2021', '--memory', '512KiB')).toMatchObject({
      code: 0,
      stdout: '2021-03-03\n',
      stderr: '',
    })
    expect(await masset('run', cid, '--prompt', 'the 3rd of March 2021', '--precision', 'fast', '--kv-cache', 'f16')).toMatchObject({
      code: 0,
      stdout: '2021-03-03\n',
    })
    expect(await masset('run', cid, '--prompt', 'x', '--kv-cache', 'f8')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Cannot load a model with this kvCache; give 'f32' or 'f16'"),
    })
    expect(JSON.parse((await masset('run', cid, '--message', '4 April 1999', '--json')).stdout)).toMatchObject({ cid, text: '1999-04-04' })
    expect((await masset('run', cid, '--prompt', '4 April 1999', '--stats')).stderr).toMatch(/tokens in \d+ passes/)
    const trace = `${folder.path}/trace.json`
    expect(await masset('run', cid, '--prompt', '4 April 1999', '--trace', trace)).toMatchObject({ code: 0, stdout: '1999-04-04\n' })
    expect(JSON.parse(await readFile(trace, 'utf8')).traceEvents).toContainEqual(expect.objectContaining({ ph: 'X', cat: 'compute' }))
    expect(await masset('run', cid, '--prompt', '4 April 1999', '--trace', folder.path)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/Cannot write the trace to .*; give --trace a file that can be written/),
    })
    expect((await masset('verify', cid)).stdout).toContain('is sound')
    expect((await masset('doctor')).stdout).toContain('llama')
    expect((await masset('fragment', DEMO, '--out', `${folder.path}/out`)).stdout.trim()).toBe(cid)
    expect(await masset('rm', cid)).toMatchObject({ code: 0 })
    expect((await masset('ls', '--json')).stdout.trim()).toBe('[]')
    cid = (await masset('fragment', DEMO, '--store')).stdout.trim()
  })

  const failures: [string, string[], number, RegExp][] = [
    [
      'a wrong path',
      ['fragment', '/nowhere', '--store'],
      1,
      /Cannot open the checkpoint \/nowhere: no such file or folder; check the path/,
    ],
    [
      'a folder that is no checkpoint',
      ['fragment', '/', '--store'],
      1,
      /it has none of model\.safetensors, .*; save the model with save_pretrained\(\)/,
    ],
    ['no target', ['fragment', DEMO], 2, /give either --store or --out/],
    [
      'a CID that is not there',
      ['run', 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi', '--prompt', 'x'],
      1,
      /not.* in the store|Cannot find .* in the store .*masset ls/,
    ],
    ['neither CID nor path', ['inspect', 'nonsense'], 1, /neither the CID of an asset nor a folder/],
    ['a checkpoint instead of an asset', ['inspect', DEMO], 1, /run "masset fragment/],
    ['a budget too small', ['run', 'CID', '--prompt', 'x', '--memory', '1KiB'], 1, /give at least \d+ bytes/],
    ['a size that is none', ['run', 'CID', '--prompt', 'x', '--memory', 'lots'], 2, /give a number of bytes or a text such as "512MiB"/],
    ['no prompt', ['run', 'CID'], 2, /give one of --prompt/],
    ['ids that are none', ['run', 'CID', '--ids', '1,x'], 2, /whole numbers/],
    ...(
      [
        ['--max-tokens=1.5', /a whole number from 0 to/],
        ['--temperature=-1', /a number from 0 to 100/],
        ['--stop=', /a text that is not empty/],
      ] as const
    ).map(([option, wanted]): [string, string[], number, RegExp] => [option, ['run', 'CID', '--prompt', 'x', option], 2, wanted]),
    ['a name of novel length', ['fragment', DEMO, '--out', '/nowhere/out', '--name', 'n'.repeat(201)], 2, /give at most 200 characters/],
  ]
  it.each(failures)('%s: one line that says what, where and what to do', async (_what, args, code, line) => {
    const outcome = await masset(...args.map((arg) => (arg === 'CID' ? cid : arg)))
    expect(outcome).toMatchObject({ code, stdout: '' })
    expect(outcome.stderr).toMatch(line)
    expect(outcome.stderr).toMatch(/^masset: [^\n]+\n$/)
  })

  it('control characters of a path do not reach the terminal, and no name breaks the line', async () => {
    const { stderr } = await masset('inspect', '/no\u001b[31m\nwhere\u009b')
    expect(stderr).toMatch(/^masset: Cannot open \/no\\u001b\[31m\\u000awhere\\u009b: [^\n]+\n$/)
  })

  it('takes paths and names with odd characters, and those that look like options', async () => {
    const odd = `${folder.path}/--odd "name" $(x) ü\n`
    expect(await masset('fragment', DEMO, '--out', odd)).toMatchObject({ code: 0, stdout: `${cid}\n` })
    expect(await masset('verify', odd)).toMatchObject({ code: 0 })
    const named = await masset('fragment', DEMO, '--store', '--name', '--x\n\u001b[31m')
    expect(named).toMatchObject({ code: 0 })
    expect((await masset('inspect', named.stdout.trim())).stdout).toContain('model --x\\u000a\\u001b[31m  bafy')
    await masset('rm', named.stdout.trim())
    await rename(odd, `${folder.path}/--out`)
    const here = (...args: string[]) => promisify(execFile)(process.execPath, [CLI, ...args], { cwd: folder.path })
    expect((await here('verify', '--', '--out')).stdout).toContain('is sound')
  })

  it.runIf(process.platform === 'linux')('ends with an error where no store can be', async () => {
    const failed = promisify(execFile)(process.execPath, [CLI, 'ls'], { env: { ...process.env, MODULE_ASSETS_HOME: '/proc/x' } })
    await expect(failed).rejects.toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'masset: Cannot open the store /proc/x: no such file or folder; check the path\n',
    })
  })

  it.runIf(process.platform === 'linux')('says that its output can not be written', async () => {
    await using full = await open('/dev/full', 'w')
    const child = spawn(process.execPath, [CLI, 'doctor'], { stdio: ['ignore', full.fd, 'pipe'] })
    let stderr = ''
    child.stderr!.on('data', (text) => (stderr += text))
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect([code, stderr]).toEqual([1, 'masset: Cannot write the output: the disk is full; free some space and try again\n'])
  })

  it('shows the demo, as JSON for programs', async () => {
    const { stdout } = await masset('demo', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      cid,
      answers: [{ input: 'the 3rd of March 2021', text: '2021-03-03' }, {}, {}, {}, {}],
      stats: {},
    })
    expect(await masset('demo')).toMatchObject({ code: 0, stdout: expect.stringContaining('the 3rd of March 2021  ->  2021-03-03\n') })
  })

  it.each(['the output is closed', 'Ctrl-C is pressed'])('the demo cleans up when %s', async (what) => {
    const temp = `${folder.path}/${what.length}`
    await mkdir(temp)
    const child = spawn(process.execPath, [CLI, 'demo'], { env: { ...process.env, TMPDIR: temp }, stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (text) => (stderr += text))
    const ended = new Promise((resolve) => child.on('exit', resolve))
    await new Promise((resolve) => child.stdout.once('data', resolve))
    expect(await readdir(temp)).toHaveLength(1)
    if (what === 'the output is closed') child.stdout.destroy()
    else child.kill('SIGINT')
    expect([await ended, stderr]).toEqual(
      what === 'the output is closed' ? [0, ''] : [1, expect.stringMatching(/^masset: [^\n]*cancelled\n$/)],
    )
    expect(await readdir(temp)).toEqual([])
  })

  it('wrong usage is exit code 2; help and version are 0', async () => {
    const oneLine = (why: string, help: string) =>
      new RegExp(`^masset: Cannot understand the command: ${why}[^\\n]*; "${help}" [^\\n]+\\n$`)
    for (const [args, why, help] of [
      [['frobnicate'], "unknown command 'frobnicate'", 'masset --help'],
      [['inspect'], 'missing required argument', 'masset inspect --help'],
      [['ls', '--nonsense'], "unknown option '--nonsense'", 'masset ls --help'],
      [['verify', 'a', 'b'], 'too many arguments', 'masset verify --help'],
    ] as const)
      expect(await masset(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(oneLine(why, help)) })
    expect(await masset('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
    for (const command of ['fragment', 'seal', 'run', 'inspect', 'verify', 'plan', 'rm'])
      expect((await masset(command, '--help')).stdout).toMatch(/Examples?:\n {2}\$ masset/)
  })
})
