import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssetError } from '../../src/core/errors.js'
import { type Block, type BlockOptions, type Broker, BusyError } from '../../src/transport/broker.js'
import { Retriever } from '../../src/transport/retriever.js'
import { leaf, oddCid, sha256 } from './made-blocks.js'

const QUICK = { patience: 5, rest: 1 }

/** What a broker does when it is asked. */
const DEEDS = ['give', 'miss', 'fail', 'stall', 'lie', 'more', 'busy'] as const
type Deed = (typeof DEEDS)[number]

/** A broker that does as it is told, one deed for each time that it is asked, the last one for all that follow. */
function scripted(name: string, deeds: readonly Deed[], asked: string[] = []): Broker {
  let at = 0
  return {
    name,
    async block(cid, { limit, signal }: BlockOptions) {
      asked.push(name)
      const deed = deeds[Math.min(at++, deeds.length - 1)]!
      const block = BLOCKS.find((one) => one.cid.equals(cid))!
      if (deed === 'stall') await setTimeout(600_000, undefined, { signal })
      if (deed === 'fail') throw new AssetError('IO', 'Cannot answer: no power')
      if (deed === 'busy') throw new BusyError('Cannot answer: too many ask', 2)
      if (deed === 'more') throw new AssetError('LIMIT', `Cannot answer: it has more than ${limit} bytes`)
      if (deed === 'miss') return undefined
      return deed === 'lie' ? Buffer.concat([block.bytes, Buffer.from('!')]) : block.bytes
    },
  }
}

const BLOCKS: Block[] = Array.from({ length: 4 }, (_, index) => leaf(`block ${index}`))
const [BLOCK] = BLOCKS as [Block]

describe('a retriever', () => {
  it('gives a block whenever one broker is honest, and never other bytes', async () => {
    const deeds = fc.array(fc.constantFrom(...DEEDS), { minLength: 1, maxLength: 3 })
    await fc.assert(
      fc.asyncProperty(fc.array(deeds, { maxLength: 4 }), fc.boolean(), fc.nat(), async (scripts, withHonest, place) => {
        // What stalls for ever is given up only for another broker's answer.
        const others = scripts.map((script) => (withHonest ? script : script.filter((deed) => deed !== 'stall').concat('fail')))
        const all: Deed[][] = withHonest ? others.toSpliced(place % (others.length + 1), 0, ['give']) : others
        const retriever = new Retriever(
          all.map((script, index) => scripted(String(index), script)),
          QUICK,
        )
        const results = await Promise.allSettled(BLOCKS.map(({ cid }) => retriever.block(cid)))
        for (const [index, result] of results.entries()) {
          if (result.status === 'fulfilled') expect(result.value).toEqual(BLOCKS[index]!.bytes)
          else expect(result.reason).toBeInstanceOf(AssetError)
          if (withHonest) expect(result.status).toBe('fulfilled')
        }
        const given = results.filter(({ status }) => status === 'fulfilled').length
        expect(retriever.counts().reduce((sum, { blocks }) => sum + blocks, 0)).toBeGreaterThanOrEqual(given)
      }),
      { numRuns: 300 },
    )
  })

  it('never asks a broker again that gave wrong bytes, and says so when nobody else has the block', async () => {
    const asked: string[] = []
    const retriever = new Retriever([scripted('liar', ['lie'], asked)], QUICK)
    await expect(retriever.block(BLOCK.cid)).rejects.toThrow(
      `Cannot get the block ${BLOCK.cid}: Cannot use the block ${BLOCK.cid} of liar: it is other bytes; try again or name another source`,
    )
    await expect(retriever.block(BLOCKS[1]!.cid)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('Cannot trust liar'),
    })
    expect(asked).toEqual(['liar'])
    expect(retriever.counts()).toMatchObject([{ blocks: 0, failures: 1, gone: expect.stringContaining('others') }])
  })

  it('asks a broker that fails again, so often and no more, after the others', async () => {
    const asked: string[] = []
    const retriever = new Retriever([scripted('weak', ['fail'], asked), scripted('empty', ['miss'], asked)], QUICK)
    await expect(retriever.block(BLOCK.cid)).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('no power') })
    expect(asked.toSorted()).toEqual(['empty', 'weak', 'weak', 'weak', 'weak'])
    const mended = new Retriever([scripted('mended', ['fail', 'busy', 'fail', 'give'])], QUICK)
    expect(await mended.block(BLOCK.cid)).toEqual(BLOCK.bytes)
    expect(mended.counts()).toMatchObject([{ blocks: 1, bytes: BLOCK.bytes.byteLength, failures: 3 }])
  })

  it('says that a block is nowhere, and that no source is named', async () => {
    const retriever = new Retriever([scripted('a', ['miss']), scripted('b', ['miss'])], QUICK)
    await expect(retriever.block(BLOCK.cid)).rejects.toThrow(
      `Cannot get the block ${BLOCK.cid}: no source has it (a, b); name another source`,
    )
    await expect(new Retriever([]).block(BLOCK.cid)).rejects.toThrow('no source is named; name another source')
  })

  it('asks the next broker when one takes long, takes the first answer, and cancels the other request', async () => {
    let cancelled = 0
    const slow: Broker = {
      name: 'slow',
      block: async (_, { signal }) => {
        await setTimeout(600_000, undefined, { signal }).catch(() => (cancelled += 1))
        return undefined
      },
    }
    const retriever = new Retriever([slow, scripted('quick', ['give'])], QUICK)
    for (const { cid, bytes } of BLOCKS) expect(await retriever.block(cid)).toEqual(bytes)
    const [first, second] = retriever.counts()
    expect(second).toMatchObject({ blocks: BLOCKS.length })
    expect(first).toMatchObject({ blocks: 0, failures: 0 })
    // Once it is known to be slow it is not the first to be asked.
    expect(cancelled).toBe(1)
  })

  it('gives more of the work to the broker that is faster', async () => {
    const delayed = (name: string, milliseconds: number): Broker => ({
      name,
      block: async (cid) => {
        await setTimeout(milliseconds)
        return BLOCKS.find((one) => one.cid.equals(cid))!.bytes
      },
    })
    const retriever = new Retriever([delayed('slow', 200), delayed('quick', 1)])
    for (let round = 0; round < 20; round++) await Promise.all(BLOCKS.map(({ cid }) => retriever.block(cid)))
    const [slow, quick] = retriever.counts()
    expect(slow!.blocks + quick!.blocks).toBe(80)
    expect(quick!.blocks).toBeGreaterThan(60)
  })

  describe('whose brokers have ranks', () => {
    const ranked = (broker: Broker, rank: number): Broker => ({ ...broker, rank })

    it('asks none of a later one while those before give what they are asked for, however many are under way', async () => {
      const asked: string[] = []
      const quick = (name: string) => scripted(name, ['give'], asked)
      const slow: Broker = {
        name: 'slow',
        block: async (cid) => {
          await setTimeout(5)
          return BLOCKS.find((one) => one.cid.equals(cid))!.bytes
        },
      }
      const retriever = new Retriever([ranked(quick('second'), 1), slow, ranked(quick('third'), 2)])
      for (let round = 0; round < 5; round++) await Promise.all(BLOCKS.map(({ cid }) => retriever.block(cid)))
      expect(asked).toEqual([])
      expect(retriever.counts()).toMatchObject([{ blocks: 0 }, { blocks: 5 * BLOCKS.length }, { blocks: 0 }])
    })

    it.each(['miss', 'fail', 'lie', 'stall', 'busy'] as const)('goes on to the next one after a %s', async (deed) => {
      const asked: string[] = []
      const one = (name: string, deed: Deed, rank: number) => ranked(scripted(name, [deed], asked), rank)
      const retriever = new Retriever([one('third', 'give', 2), one('second', 'give', 1), one('first', deed, 0)], {
        patience: 5,
        rest: 100_000,
      })
      expect(await retriever.block(BLOCK.cid)).toEqual(BLOCK.bytes)
      expect(asked).toEqual(['first', 'second'])
      for (const { cid } of BLOCKS.slice(1)) await retriever.block(cid)
      // Who only lacked that block is asked for others; who failed, or took long, is left alone for a while.
      const again = deed === 'miss' ? ['first', 'second'] : ['second']
      expect(asked.slice(2)).toEqual([...again, ...again, ...again])
    })
  })

  it('is cancelled while it waits for a broker, and while one rests', async () => {
    for (const deeds of [['stall'], ['fail']] as const) {
      const controller = new AbortController()
      const retriever = new Retriever([scripted('one', deeds)], { rest: 600_000 })
      const asked = retriever.block(BLOCK.cid, { signal: controller.signal })
      await setTimeout(5)
      controller.abort()
      await expect(asked).rejects.toMatchObject({ code: 'ABORTED' })
    }
    const controller = new AbortController()
    controller.abort()
    await expect(new Retriever([]).block(BLOCK.cid, { signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('38: takes no CID but raw and dag-pb with sha2-256, and short identity; asks nobody for those', async () => {
    const asked: string[] = []
    const retriever = new Retriever([scripted('one', ['give'], asked)], QUICK)
    const digest = sha256(BLOCK.bytes)
    const refused = [
      oddCid(0x55, 0x12, digest.subarray(0, 20)),
      oddCid(0x55, 0x11, digest.subarray(0, 20)),
      oddCid(0x55, 0x13, new Uint8Array(64)),
      oddCid(0x55, 0x1e, digest),
      oddCid(0x71, 0x12, digest),
      oddCid(0x55, 0, new Uint8Array(129)),
    ]
    for (const cid of refused) await expect(retriever.block(cid)).rejects.toMatchObject({ code: 'BAD_INPUT' })
    expect(await retriever.block(oddCid(0x55, 0, Buffer.from('short')))).toEqual(Buffer.from('short'))
    expect(asked).toEqual([])
  })

  it('39: takes no block above its limit, whoever sends it', async () => {
    const large = leaf(new Uint8Array(2 ** 20 + 1))
    const careless: Broker = { name: 'careless', block: async () => large.bytes }
    await expect(new Retriever([careless], QUICK).block(large.cid)).rejects.toMatchObject({ code: 'CORRUPT' })
    const whole = leaf(new Uint8Array(2 ** 20))
    const fits: Broker = { name: 'fits', block: async (_, { limit }) => whole.bytes.subarray(0, limit) }
    expect((await new Retriever([fits], QUICK).block(whole.cid)).byteLength).toBe(2 ** 20)
    await expect(new Retriever([careless], QUICK).block(whole.cid, { limit: 100 })).rejects.toMatchObject({ code: 'CORRUPT' })
  })
})
