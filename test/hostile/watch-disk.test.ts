import { describe, expect, it } from 'vitest'
import { checkpointBytes, temporary } from '../sources/files.js'
import { answerOf } from './children.js'
import { replayed } from './crash-points.js'
import { readLog } from './disk-log.js'
import { QUICK, readTree } from './trees.js'

describe('the watch over a disk', () => {
  it('fails, counts once and logs every call, in its sync, callback and promise forms', async () => {
    await using folder = await temporary(QUICK)
    const [disk, log] = [`${folder.path}/disk`, `${folder.path}/log`]
    expect(await answerOf(['watch-disk'], 'every-form', [], { WATCHED: disk, DISK_LOG: log })).toEqual([])
    const changes = readLog(log)
    // the first change made the disk itself
    expect(replayed(disk, new Map(), changes.slice(1))).toEqual(readTree(disk))
    expect(changes.filter(({ op }) => op === 'fsync')).toHaveLength(5)
  })

  it('reaches the threads of the pool', async () => {
    const counts: unknown[] = []
    for (const preloads of [['watch-disk'], ['one-thread', 'watch-disk']]) {
      await using folder = await temporary(QUICK)
      await folder.write('a/model.safetensors', checkpointBytes(['x.weight', 'y.weight']))
      counts.push(await answerOf(preloads, 'counting', [], { WATCHED: folder.path }))
    }
    expect(counts[0]).toBeGreaterThan(70)
    expect(counts[0]).toBe(counts[1])
  })
})
