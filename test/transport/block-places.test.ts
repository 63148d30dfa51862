import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { leafCid } from '../../src/core/cid.js'
import { BlockPlaces } from '../../src/transport/block-places.js'
import { oddCid } from './made-blocks.js'

describe('the places of the blocks of a CAR', () => {
  it('are found by digest, the first of several, whatever their number', () => {
    const places = new BlockPlaces('a CAR')
    const cids = Array.from({ length: 150_000 }, () => leafCid(randomBytes(32)))
    for (const [at, cid] of cids.entries()) places.add(cid, { offset: 2 ** 40 + at, length: at })
    places.add(cids[7]!, { offset: 1, length: 1 })
    expect(places.size).toBe(cids.length)
    expect(cids.every((cid, at) => places.find(cid)?.offset === 2 ** 40 + at && places.find(cid)?.length === at)).toBe(true)
    expect(places.find(leafCid(randomBytes(32)))).toBeUndefined()
    places.add(oddCid(0x55, 0x13, new Uint8Array(64)), { offset: 1, length: 1 })
    expect(places.find(oddCid(0x55, 0x13, new Uint8Array(64)))).toBeUndefined()
  })

  it('take less than 64 bytes each', () => {
    const before = process.memoryUsage().arrayBuffers
    const places = new BlockPlaces('a CAR')
    for (let at = 0; at < 300_000; at++) places.add(leafCid(randomBytes(32)), { offset: at, length: 0 })
    const held = new Set<unknown>([places])
    globalThis.gc?.()
    expect(held.size).toBe(1)
    // What was thrown away while it grew may still be counted.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(300_000 * 96)
  })

  it('39: are refused where digests are made up to be alike', () => {
    const places = new BlockPlaces('a CAR')
    const alike = (at: number) => {
      const digest = new Uint8Array(32)
      new DataView(digest.buffer).setUint32(28, at)
      return leafCid(digest)
    }
    const all = () => {
      for (let at = 0; at < 2000; at++) places.add(alike(at), { offset: at, length: 0 })
    }
    expect(all).toThrow('Cannot use the CAR a CAR: its blocks have digests that are no hashes')
  })
})
