import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FATAL } from '../graph/fatal-graphs.js'
import { choiceOf, ENGINES } from './engines.js'
import { HOSTILE } from './hostile-graphs.js'

const CHILD = fileURLToPath(new URL('hostile-child.js', import.meta.url))

interface Ended {
  readonly name: string
  readonly code?: string
  readonly message?: string
  readonly typed?: boolean
  readonly outputs?: unknown
}

describe.each(ENGINES)('graphs of strangers in %s, in a process of their own (67)', (engine) => {
  let folder: string
  let run: { code: number | null; signal: string | null; stderr: string; ended: Map<string, Ended> }
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'masset-test-'))
    run = await new Promise((resolve) => {
      const child = spawn(process.execPath, [CHILD, folder, choiceOf(engine)], { stdio: ['ignore', 'pipe', 'pipe'] })
      const text = { stdout: '', stderr: '' }
      for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (data) => (text[name] += data))
      child.on('close', (code, signal) => {
        const lines = text.stdout.split('\n').filter((line) => line !== '')
        resolve({ code, signal, stderr: text.stderr, ended: new Map(lines.map((line) => [JSON.parse(line).name, JSON.parse(line)])) })
      })
    })
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('leave it alive, and nothing on stderr', () => {
    expect({ ...run, ended: run.ended.size }).toEqual({ code: 0, signal: null, stderr: '', ended: Object.keys(HOSTILE).length })
  })

  it.each(Object.keys(HOSTILE))('%s', (name) => {
    const { error, outputs } = HOSTILE[name]!
    const ended = run.ended.get(name)!
    if (ended.message !== undefined) {
      expect(ended.typed).toBe(true)
      expect(ended.message).toMatch(/^Cannot [^\n]{10,500}$/)
    }
    // What is refused before an engine sees it is refused alike; the native engine has its own words for the rest.
    if (engine !== 'onnx' && !(name in FATAL)) return
    if (error) expect(ended).toMatchObject({ code: error.code, message: expect.stringMatching(error.text) })
    else expect(ended.outputs).toEqual(outputs)
  })
})
