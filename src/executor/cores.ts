import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

const CPUS = '/sys/devices/system/cpu'

/**
 * Cores that this process may use: two threads on one core would share the units that compute. Where the system doesn't say
 * (Linux does, for the processors under `cpus`), as many as it runs threads at once.
 */
export function physicalCores(cpus = CPUS, threads = availableParallelism()): number {
  try {
    const numbered = readdirSync(cpus).filter((name) => /^cpu\d+$/.test(name))
    const cores = new Set(numbered.map((name) => readFileSync(`${cpus}/${name}/topology/thread_siblings_list`, 'utf8').trim()))
    return Math.max(1, Math.min(threads, cores.size || threads))
  } catch {
    return threads
  }
}
