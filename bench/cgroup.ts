import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'

const ROOT = '/sys/fs/cgroup/memory'

/** A group of processes that may use so much memory, the page cache of what they read included. */
export interface Limited extends AsyncDisposable {
  /** a command that runs another one in the group */
  readonly command: readonly string[]
  /** bytes of anonymous memory, the most seen */
  anonymousPeak(): number
  /** whether the system ended a process of it for want of memory */
  killed(): boolean
}

/** Makes a group of at most `bytes`. Linux, root, the memory controller of cgroup v1. */
export function limitTo(bytes: number, name: string): Limited {
  const group = `${ROOT}/masset-bench-${name}`
  mkdirSync(group, { recursive: true })
  writeFileSync(`${group}/memory.limit_in_bytes`, String(Math.floor(bytes)))
  const read = (file: string, line: RegExp) => Number(line.exec(readFileSync(`${group}/${file}`, 'utf8'))?.[1] ?? 0)
  let peak = 0
  const look = () => {
    peak = Math.max(peak, read('memory.stat', /^rss (\d+)$/m))
  }
  const watch = setInterval(look, 50)
  return {
    command: ['sh', '-c', `echo $$ > ${group}/cgroup.procs && exec "$@"`, 'sh'],
    anonymousPeak: () => peak,
    killed: () => read('memory.oom_control', /^oom_kill (\d+)$/m) > 0,
    async [Symbol.asyncDispose]() {
      clearInterval(watch)
      // its last process may still be going
      for (let tries = 0; ; tries++) {
        try {
          rmdirSync(group)
          return
        } catch (error) {
          if (tries === 50) throw error
          await setTimeout(100)
        }
      }
    },
  }
}
