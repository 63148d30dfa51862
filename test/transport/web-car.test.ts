import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Block } from '../../src/transport/broker.js'
import { HttpOrigin } from '../../src/transport/http.js'
import { Retriever } from '../../src/transport/retriever.js'
import type { SpoolPlace } from '../../src/transport/spool-file.js'
import { webCar } from '../../src/transport/web-car.js'
import { temporary } from '../sources/files.js'
import { leaf } from './made-blocks.js'
import { writtenCar } from './made-cars.js'
import { type OddServer, oddServer } from './odd-server.js'

const BLOCKS: Block[] = Array.from({ length: 8 }, () => leaf(randomBytes(20_000)))
const carOf = (blocks: readonly Block[]) => writtenCar(blocks, [blocks[0]!.cid])

/** How a server has a CAR: what it calls it, whether it knows ranges, and after how many bytes of an answer it cuts. */
interface Behaviour {
  bytes: Uint8Array
  etag?: string | undefined
  /** what it says that it gives, whatever was asked for; it ignores If-Range then */
  heedless?: boolean
  ranges?: boolean
  cut?: number | undefined
}

function answer(range: string | undefined, ifRange: string | undefined, response: ServerResponse, how: Behaviour): number {
  const { bytes, etag, ranges = true, heedless = false, cut = Number.POSITIVE_INFINITY } = how
  const asked = ranges && (heedless || (etag !== undefined && ifRange === etag)) ? /^bytes=(\d+)-$/.exec(range ?? '') : null
  const start = Number(asked?.[1] ?? 0)
  if (start >= bytes.byteLength) {
    response.writeHead(416, { 'content-range': `bytes */${bytes.byteLength}` }).end()
    return 0
  }
  const length = bytes.byteLength - start
  response.writeHead(asked ? 206 : 200, {
    'content-length': length,
    ...(etag !== undefined && { etag }),
    ...(asked && { 'content-range': `bytes ${start}-${bytes.byteLength - 1}/${bytes.byteLength}` }),
  })
  const sent = Math.min(length, cut)
  if (sent === length) response.end(bytes.subarray(start))
  else response.write(bytes.subarray(start, start + sent), () => setTimeout(() => response.destroy(), 30))
  return sent
}

interface CarServer {
  readonly server: OddServer
  readonly how: Behaviour
  sent: number
}

async function serving(how: Behaviour): Promise<CarServer & AsyncDisposable> {
  const server = await oddServer(({ headers }, response) => {
    one.sent += answer(headers.range, headers['if-range'] as string | undefined, response, how)
  })
  const one = { server, how, sent: 0, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  return one
}

/** Gets blocks as a process of its own would. */
async function taken({ server }: CarServer, place: SpoolPlace, blocks: readonly Block[] = BLOCKS) {
  const retriever = new Retriever([webCar(new HttpOrigin(server.url), '/a.car', place)], { rest: 1 })
  try {
    for (const { cid, bytes } of blocks) expect(Buffer.compare(await retriever.block(cid), bytes)).toBe(0)
    return retriever.counts()[0]!
  } finally {
    await retriever.close()
  }
}

const keeping = (folder: string): SpoolPlace => ({ folder, name: 'asset', isKept: async () => true })

describe('a CAR of a web server', () => {
  it('59: that is cut again and again is gone on with where it was cut: each block comes once', async () => {
    await using folder = await temporary()
    const bytes = await carOf(BLOCKS)
    await using car = await serving({ bytes, etag: '"one"', cut: 50_000 })
    // The last one first: it comes only when all others have.
    await taken(car, { folder: folder.path }, BLOCKS.toReversed())
    expect(car.server.asked.length).toBeGreaterThan(3)
    expect(car.sent).toBeLessThan(bytes.byteLength + car.server.asked.length * 20_100)
    expect(car.server.asked.slice(1).every(({ headers }) => headers['if-range'] === '"one"')).toBe(true)
    expect(await readdir(folder.path)).toEqual([])
  })

  it('59: is gone on with by the next process, and whole is not fetched again', async () => {
    await using folder = await temporary()
    const bytes = await carOf(BLOCKS)
    await using car = await serving({ bytes, etag: '"one"' })
    await taken(car, keeping(folder.path), BLOCKS.slice(0, 4))
    expect(await readdir(folder.path)).toHaveLength(1)
    await taken(car, keeping(folder.path))
    expect(car.server.asked).toHaveLength(2)
    const start = Number(/^bytes=(\d+)-$/.exec(car.server.asked[1]!.headers.range!)![1])
    expect(start).toBeGreaterThan(80_000)
    await taken(car, { ...keeping(folder.path), isKept: async () => false })
    expect(car.server.asked.length).toBeLessThanOrEqual(3)
    expect(await readdir(folder.path)).toEqual([])
  })

  it.each([
    ['another ETag, and 200', { etag: '"two"' }],
    ['another ETag, and 206 all the same', { etag: '"two"', heedless: true }],
    ['no ranges', { ranges: false }],
    ['no ETag any more', { etag: undefined }],
    ['fewer bytes', { etag: '"one"', short: true }],
  ])('59: begins again where the server has %s', async (_what, change) => {
    await using folder = await temporary()
    await using car = await serving({ bytes: await carOf(BLOCKS), etag: '"one"' })
    await taken(car, keeping(folder.path), BLOCKS.slice(0, 4))
    const others = Array.from({ length: 3 }, () => leaf(randomBytes(1000)))
    Object.assign(car.how, change, { bytes: await carOf('short' in change ? others : [...others, ...BLOCKS]) })
    await taken(car, keeping(folder.path), others)
  })

  it('59: of what a process left nothing is trusted: what is damaged comes again, and the server is not blamed', async () => {
    await using folder = await temporary()
    const bytes = await carOf(BLOCKS)
    for (const damage of ['zeros', 'flipped', 'cut', 'nonsense', 'folder'] as const) {
      await using car = await serving({ bytes, etag: '"one"' })
      const place = keeping(join(folder.path, damage))
      await taken(car, place, BLOCKS.slice(0, 5))
      const [name] = await readdir(place.folder)
      const path = join(place.folder, name!)
      const left = await readFile(path)
      if (damage === 'zeros') left.fill(0, 30_000)
      if (damage === 'flipped') left[50_000]! ^= 1
      if (damage === 'folder') {
        await mkdir(join(place.folder, name!.replace('asset.', 'asset.0')), { recursive: true })
      } else await writeFile(path, damage === 'nonsense' ? randomBytes(90_000) : damage === 'cut' ? left.subarray(0, 45_000) : left)
      expect(await taken(car, place), damage).toMatchObject({ blocks: BLOCKS.length })
    }
  })

  it('is fetched no further than it is asked for', async () => {
    await using folder = await temporary()
    const many = [BLOCKS[0]!, ...Array.from({ length: 40 }, () => leaf(randomBytes(2 ** 20)))]
    await using car = await serving({ bytes: await carOf(many), etag: '"one"' })
    const place = keeping(folder.path)
    await taken(car, place, many.slice(0, 2))
    const [name] = await readdir(folder.path)
    // A part of what the network had on its way is read with it.
    expect((await readFile(join(folder.path, name!))).byteLength).toBeLessThan(4 * 2 ** 20)
  })

  it('60: that ends in the middle, and says that it is whole, is asked for again', async () => {
    await using folder = await temporary()
    const bytes = await carOf(BLOCKS)
    let answers = 0
    await using server = await oddServer((_, response) => {
      response.writeHead(200)
      response.write(answers++ === 0 ? bytes.subarray(0, 50_000) : bytes)
      response.end()
    })
    await taken({ server, how: { bytes }, sent: 0 }, { folder: folder.path })
    expect(answers).toBe(2)
  })

  it('62: is told of without its password, and without what is asked for after its path', () => {
    const { name } = webCar(new HttpOrigin('http://me:secret@example.org'), '/a.car?signature=secret', { folder: '' })
    expect(name).toBe('car http://example.org/a.car?…')
  })
})
