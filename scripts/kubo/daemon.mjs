// A Kubo daemon with a repo of its own, for as long as this process runs.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Starts a daemon and says where it answers; see ../kubo.mjs. Ends the process when the daemon ends. */
export function startDaemon(ipfs, { online = false, attached = false, in: parent = tmpdir() }) {
  const repo = mkdtempSync(join(parent, 'masset-kubo-'))
  // The profile `test` asks for free ports on loopback.
  const flags = ['--init', '--init-profile=test,unixfs-v1-2025', online ? '--routing=none' : '--offline']
  const daemon = spawn(ipfs, ['daemon', ...flags], {
    env: { ...process.env, IPFS_PATH: repo, IPFS_TELEMETRY: 'off' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // The repo is thrown away: nothing is lost if the daemon can't tidy it.
  const stop = () => daemon.kill('SIGKILL')
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, stop)
  if (attached) process.stdin.on('close', stop).resume()
  process.stdout.on('error', stop)
  process.on('exit', () => {
    stop()
    rmSync(repo, { recursive: true, force: true, maxRetries: 10 })
  })

  let said = ''
  let isReady = false
  const listen = (text) => {
    if (isReady) return
    said += text
    if (!/^Daemon is ready$/m.test(said)) return
    isReady = true
    const [, port] = /\/tcp\/(\d+)/.exec(readFileSync(join(repo, 'api'), 'utf8'))
    const gateway = readFileSync(join(repo, 'gateway'), 'utf8').trim()
    console.log(JSON.stringify({ pid: process.pid, api: `http://127.0.0.1:${port}`, gateway, repo, ipfs }))
  }
  daemon.stdout.setEncoding('utf8').on('data', listen)
  daemon.stderr.setEncoding('utf8').on('data', listen)
  daemon.on('error', (error) => console.error(`kubo: Cannot start ${ipfs}: ${error.message}`))
  daemon.on('close', (_code, signal) => {
    const isStopped = signal === 'SIGKILL'
    if (!isStopped) console.error(`kubo: the daemon ended by itself${isReady ? '' : `: ${said.trim()}`}`)
    process.exit(isStopped ? 0 : 1)
  })
}
