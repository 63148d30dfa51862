import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { QUICK } from './hostile/trees.js'

// Compiled, this file is dist/test/kubo.js: the repository is two folders up.
const SCRIPT = fileURLToPath(new URL('../../scripts/kubo.mjs', import.meta.url))
const run = promisify(execFile)

/** True where there is a Kubo to test against; where not, one line has said what is missing. Nothing is built here. */
export const hasKubo = isThere()

function isThere(): boolean {
  try {
    execFileSync(process.execPath, [SCRIPT, 'path'], { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] })
    return true
  } catch (error) {
    const why = (error as { stderr?: string }).stderr?.trim() ?? String(error)
    console.warn(`skipped: tests with a Kubo daemon: ${why.replace(/^kubo: /, '')}`)
    return false
  }
}

/** A Kubo daemon on loopback with a new repo, both of which end with the test: `await using kubo = await startKubo()`. */
export interface Kubo extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` of its RPC, without /api/v0 */
  readonly api: string
  /** `http://127.0.0.1:PORT` of its gateway */
  readonly gateway: string
  /** Runs `ipfs` against it; gives what that printed, without the last line break. */
  exec(...args: readonly string[]): Promise<string>
  /** Kills it, as if its machine had lost power. */
  stop(): Promise<void>
}

/**
 * Starts a daemon, whose repo becomes a folder in `parent`; `online` lets it exchange blocks with those that it is told to
 * connect to (`ipfs swarm connect`).
 */
export async function startKubo({ online = false, parent = QUICK } = {}): Promise<Kubo> {
  // It ends when its standard input does, so also when this process is killed.
  const args = [SCRIPT, 'start', '--attached', '--in', parent, ...(online ? ['--online'] : [])]
  const daemon = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(daemon, 'exit')
  const lines = createInterface(daemon.stdout)
  const [line] = await Promise.race([once(lines, 'line'), ended.then(() => [])])
  if (typeof line !== 'string') throw new Error('the daemon did not start')
  const { api, gateway, repo, ipfs } = JSON.parse(line) as Record<'api' | 'gateway' | 'repo' | 'ipfs', string>
  const stop = async () => {
    daemon.stdin.end()
    await ended
  }
  return {
    api,
    gateway,
    async exec(...args) {
      const env = { ...process.env, IPFS_PATH: repo }
      const { stdout } = await run(ipfs, args, { env, maxBuffer: 256 * 1024 * 1024 })
      return stdout.trimEnd()
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}
