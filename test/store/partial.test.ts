import { symlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openStore } from '../../src/api/index.js'
import { parseCid } from '../../src/core/cid.js'
import { LeafNotes, newPartial } from '../../src/store/partial.js'
import { checkRoom } from '../../src/store/room.js'
import { temporary } from '../sources/files.js'

const CID = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'

describe('what has arrived of a file', () => {
  it('56: counts though another process begins to note leaves of the same file just then', async () => {
    await using folder = await temporary()
    const { layout } = await openStore(`${folder.path}/store`)
    const { path, handle } = await newPartial(layout, CID)
    const digests = new Uint8Array(3 * 32).fill(5)
    const [one, two] = [await LeafNotes.open(path, 3), await LeafNotes.open(path, 3)]
    expect([await one.read(), await two.read()]).toEqual([undefined, undefined])
    await one.begin(digests)
    await one.add(1)
    await two.begin(digests)
    expect(await two.read()).toEqual({ digests, there: Uint8Array.of(0, 1, 0) })
    for (const each of [one, two, handle]) await each.close()
  })

  it('56: is no longer asked for room where another process has finished it just then', async () => {
    await using folder = await temporary()
    const { layout } = await openStore(`${folder.path}/store`)
    const { path, handle } = await newPartial(layout, CID)
    await handle.close()
    // A name that leads nowhere is as good as one that goes between two looks.
    await symlink('nowhere', `${dirname(path)}/${CID}.${'0'.repeat(18)}`)
    await expect(checkRoom(layout, [{ cid: parseCid(CID), size: 2 ** 52 }])).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/^Cannot fetch into the store .*: that takes .* more, its disk has .* free; free some space/),
    })
  })
})
