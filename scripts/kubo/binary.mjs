// Where the `ipfs` of tests and benches comes from: MASSET_IPFS, else what was built here, else the PATH.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MODULE = fileURLToPath(new URL('.', import.meta.url))
// The first that knows the profile unixfs-v1-2025.
const OLDEST = [0, 40]

/** The place of the binary in the user's cache: another one whenever anything that goes into it changes. */
function builtPath() {
  const pinned = ['go.mod', 'go.sum'].map((name) => readFileSync(join(MODULE, name)))
  const key = createHash('sha256').update(Buffer.concat(pinned)).digest('hex').slice(0, 16)
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return join(cache, 'module-assets', `kubo-${key}`, process.platform === 'win32' ? 'ipfs.exe' : 'ipfs')
}

/** Builds Kubo where that was not done yet, which takes minutes; gives the path of the binary. */
export function buildKubo() {
  const built = builtPath()
  if (existsSync(built)) return built
  if (run('go', ['version']).status !== 0) throw new Error('Cannot build Kubo: go is not on this machine; install Go 1.26 or later')
  console.error('kubo: building, this takes some minutes')
  mkdirSync(join(built, '..'), { recursive: true })
  // Beside it first: what has the name is complete, and two that build at once don't meet.
  const fresh = `${built}.${process.pid}`
  try {
    const flags = ['build', '-trimpath', '-ldflags=-s -w', '-o', fresh, 'github.com/ipfs/kubo/cmd/ipfs']
    if (run('go', flags, { cwd: MODULE, stdio: ['ignore', 2, 2] }).status !== 0) throw new Error('Cannot build Kubo: see above')
    renameSync(fresh, built)
  } finally {
    rmSync(fresh, { force: true })
  }
  return built
}

/** The path of an `ipfs` that can be used; an error of one line says why there is none. */
export function findKubo() {
  const named = process.env.MASSET_IPFS
  if (named) return checked(named, `${named}, which MASSET_IPFS names`)
  const built = builtPath()
  if (existsSync(built)) return built
  try {
    return checked('ipfs', 'ipfs on the PATH')
  } catch (error) {
    throw new Error(`${error.message}; "node scripts/kubo.mjs build" makes one where Go is, MASSET_IPFS names another`)
  }
}

function checked(command, where) {
  const { status, stdout } = run(command, ['version', '--number'])
  if (status !== 0) throw new Error(`Cannot run Kubo: there is no ${where}`)
  const [major, minor] = stdout.split('.').map(Number)
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    throw new Error(`Cannot use the ${where}: it is version ${stdout.trim()}, 0.40 or later is needed`)
  return command
}

function run(command, args, options) {
  return spawnSync(command, args, { encoding: 'utf8', ...options })
}
