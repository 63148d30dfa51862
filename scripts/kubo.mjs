// node scripts/kubo.mjs build | path | start [--online] [--attached] [--in FOLDER] | stop PID: a Kubo daemon for tests and
// benches, never needed by a user. `build` makes the version that scripts/kubo/go.mod pins, once: it stays in the user's
// cache folder. `path` prints the `ipfs` that is taken, or says on one line what is missing. `start` prints one line of JSON
// when the daemon answers: { pid, api, gateway, repo, ipfs }. It goes on until it gets SIGTERM (which `stop` sends) or
// Ctrl-C, with --attached also until its standard input ends, so that it never outlives who started it; its repo, a new
// folder (in FOLDER), goes with it. The daemon listens on loopback alone and is offline; with --online it talks to
// those that it is told to connect to, and announces nothing to anyone.
import { parseArgs } from 'node:util'
import { buildKubo, findKubo } from './kubo/binary.mjs'
import { startDaemon } from './kubo/daemon.mjs'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { online: { type: 'boolean' }, attached: { type: 'boolean' }, in: { type: 'string' } },
})
const [task, pid] = positionals

const tasks = {
  build: () => console.log(buildKubo()),
  path: () => console.log(findKubo()),
  start: () => startDaemon(findKubo(), values),
  async stop() {
    if (!/^\d+$/.test(pid ?? '')) throw new Error('Cannot stop a daemon: give the pid that "start" printed')
    if (!isAlive(Number(pid))) throw new Error(`Cannot stop ${pid}: there is no such process`)
    process.kill(Number(pid), 'SIGTERM')
    while (isAlive(Number(pid))) await new Promise((resolve) => setTimeout(resolve, 50))
  },
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

if (!Object.hasOwn(tasks, task)) {
  console.error('kubo: give build, path, start or stop PID')
  process.exit(2)
}
try {
  await tasks[task]()
} catch (error) {
  console.error(`kubo: ${error.message}`)
  process.exit(1)
}
