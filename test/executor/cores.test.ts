import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { physicalCores } from '../../src/executor/cores.js'
import { temporary } from '../sources/files.js'

/** What Linux says of processors that share a core with others. */
async function processors(folder: string, siblings: readonly string[]): Promise<void> {
  for (const [at, list] of siblings.entries()) {
    await mkdir(join(folder, `cpu${at}`, 'topology'), { recursive: true })
    await writeFile(join(folder, `cpu${at}`, 'topology', 'thread_siblings_list'), `${list}\n`)
  }
  await mkdir(join(folder, 'cpufreq'))
}

it('counts cores, not the threads that share them, and no more than this process may use', async () => {
  await using folder = await temporary()
  await processors(folder.path, ['0,4', '1,5', '2,6', '3,7', '0,4', '1,5', '2,6', '3,7'])
  expect(physicalCores(folder.path, 8)).toBe(4)
  expect(physicalCores(folder.path, 2)).toBe(2)
})

it('takes what the process may use where the system does not say', async () => {
  await using folder = await temporary()
  expect(physicalCores(join(folder.path, 'none'), 6)).toBe(6)
  expect(physicalCores(folder.path, 6)).toBe(6)
})
