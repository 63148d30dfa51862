import type { FileHandle } from 'node:fs/promises'
import { AssetError } from '../core/errors.js'
import { openFile, readExactly } from '../core/read.js'
import type { Broker } from './broker.js'
import { type CarIndex, indexCar } from './car-index.js'

/** A CAR file as a broker; opened and looked through when the first block is asked for. */
export interface CarFile extends Broker {
  /** the roots that it names, and where its blocks are @throws AssetError as {@link indexCar}, 'NOT_FOUND' */
  index(): Promise<CarIndex>
}

/** The blocks of a CAR file. */
export function carFile(path: string): CarFile {
  let opened: Promise<{ handle: FileHandle; index: CarIndex }> | undefined
  const open = async () => {
    const { handle, facts } = await openFile(path, path)
    try {
      return { handle, index: await indexCar(handle, facts.size, path) }
    } catch (error) {
      await handle.close()
      throw error
    }
  }
  const once = () => {
    opened ??= open().catch((error: AssetError) => {
      // A disk may do better next time, a CAR that is none stays that.
      if (error.code === 'IO') opened = undefined
      throw error
    })
    return opened
  }
  return {
    name: path,
    async index() {
      return (await once()).index
    },
    async block(cid, { limit }) {
      const { handle, index } = await once()
      const place = index.places.find(cid)
      if (!place) return undefined
      if (place.length > limit)
        throw new AssetError('LIMIT', `Cannot take the block ${cid} of ${path}: it has ${place.length} bytes, the limit is ${limit}`)
      const bytes = new Uint8Array(place.length)
      await readExactly(handle, bytes, place.offset, path)
      return bytes
    },
    async close() {
      const { handle } = (await opened?.catch(() => undefined)) ?? {}
      opened = undefined
      await handle?.close()
    },
  }
}
