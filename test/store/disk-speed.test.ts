import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { diskSpeed } from '../../src/store/disk-speed.js'
import { temporary } from '../sources/files.js'

describe('the speed of the disk', () => {
  it('is measured on files of any size, none too', async () => {
    await using folder = await temporary()
    const files = []
    for (const size of [0, 1, 4097, 5_000_000]) files.push({ path: await folder.write(`f${size}`, randomBytes(size)), size })
    expect((await diskSpeed(files)).bytesPerSecond).toBeGreaterThan(0)
    expect(await diskSpeed([])).toMatchObject({ bytesPerSecond: 0 })
    await expect(diskSpeed([{ path: `${folder.path}/none`, size: 9 }])).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
