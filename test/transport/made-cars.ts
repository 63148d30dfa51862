import { CarWriter } from '@ipld/car/writer'
import type { CID } from 'multiformats/cid'
import type { Block } from '../../src/transport/broker.js'

/** A CAR of blocks in this order, as a library writes it. */
export async function writtenCar(blocks: readonly Block[], roots: readonly CID[]): Promise<Buffer> {
  const { writer, out } = CarWriter.create([...roots])
  const parts: Uint8Array[] = []
  const done = (async () => {
    for await (const part of out) parts.push(part)
  })()
  for (const block of blocks) await writer.put(block)
  await writer.close()
  await done
  return Buffer.concat(parts)
}
