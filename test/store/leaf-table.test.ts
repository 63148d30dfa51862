import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { LeafTable } from '../../src/store/leaf-table.js'

const sha256 = (text: string) => createHash('sha256').update(text).digest()

describe('the table of leaves', () => {
  it('finds every leaf of every file, and nothing else', () => {
    const files = Array.from({ length: 50 }, (_, file) =>
      Buffer.concat(Array.from({ length: (file % 7) + 1 }, (_, leaf) => sha256(`${file} ${leaf}`))),
    )
    const table = new LeafTable(files)
    for (const [file, leaves] of files.entries()) {
      expect(Buffer.compare(table.digestsOf(file), leaves)).toBe(0)
      for (let leaf = 0; leaf < leaves.length / 32; leaf++) expect(table.find(sha256(`${file} ${leaf}`))).toEqual({ file, leaf })
    }
    expect(table.find(sha256('another'))).toBeUndefined()
    expect(new LeafTable([]).find(sha256('x'))).toBeUndefined()
    expect(new LeafTable([files[0]!, files[0]!]).find(sha256('0 0'))).toEqual({ file: 0, leaf: 0 })
  })
})
