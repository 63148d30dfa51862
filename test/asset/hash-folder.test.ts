import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { hashFiles } from '../../src/asset/file-pool.js'
import { hashFolder } from '../../src/asset/hash-folder.js'
import { temporary } from '../sources/files.js'

describe('hashing any folder', () => {
  it('takes hidden files and empty folders with it', async () => {
    await using folder = await temporary()
    // The CID of no entries at all, which every implementation knows.
    expect(String((await hashFolder(folder.path)).cid)).toBe('bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354')
    await folder.write('b/.hidden', 'hidden')
    await folder.write('a', '')
    const before = await hashFolder(folder.path)
    expect(before.files.map(({ path, size }) => ({ path, size }))).toEqual([
      { path: 'a', size: 0 },
      { path: 'b/.hidden', size: 6 },
    ])
    mkdirSync(`${folder.path}/empty`)
    expect(String((await hashFolder(folder.path)).cid)).not.toBe(String(before.cid))
  })

  it.runIf(process.platform === 'linux')('follows no link, waits for no pipe, and takes no name that is not text', async () => {
    await using folder = await temporary()
    const refused = async (path: string, make: (place: string) => void) => {
      mkdirSync(`${folder.path}/${path}`)
      make(`${folder.path}/${path}/it`)
      await expect(hashFolder(folder.path)).rejects.toMatchObject({
        code: 'BAD_INPUT',
        message: expect.stringMatching(
          new RegExp(`^Cannot hash .*/${path}/it.*: it(s name)? is n.*; (put the file itself there|rename it)$`),
        ),
      })
      execFileSync('rm', ['-r', `${folder.path}/${path}`])
    }
    await folder.write('file', 'x')
    await refused('link', (place) => symlinkSync(`${folder.path}/file`, place))
    await refused('loop', (place) => symlinkSync('..', place))
    await refused('pipe', (place) => execFileSync('mkfifo', [place]))
    await refused('bytes', (place) => writeFileSync(Buffer.concat([Buffer.from(place), Buffer.from([0xff])]), 'x'))
  })

  it('says what is not there, no folder, changed meanwhile, or cancelled', async () => {
    await using folder = await temporary()
    await folder.write('file', 'four')
    await expect(hashFolder(`${folder.path}/nothing`)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(hashFolder(`${folder.path}/file`)).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('not a folder') })
    await expect(hashFiles(folder.path, [{ path: 'file', size: 5 }])).rejects.toMatchObject({
      code: 'CORRUPT',
      message: `Cannot hash ${folder.path}/file: it changed while it was read; let whatever writes it finish and try again`,
    })
    await expect(hashFolder(folder.path, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
  })
})
