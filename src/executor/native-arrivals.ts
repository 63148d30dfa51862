import type { Addon, NativeArrivals } from '../engines/native/addon.js'
import { findAddon } from '../engines/native/find-addon.js'
import type { NativeFile } from '../engines/native/spec.js'
import type { Arriving, LeafOf } from '../store/arriving-asset.js'

/** Tells the native engine how those files of a plan arrive that are not there, and the fetching side what it waits for. */
export function arrivalsOf(arriving: Arriving, files: readonly NativeFile[]): NativeArrivals {
  const isComing = ({ key }: NativeFile) => arriving.isComing(key)
  const { Arrivals } = findAddon() as Addon
  const native = new Arrivals(files.map((file) => (isComing(file) ? file.size : -1)))
  // One content may lie at several places of an asset.
  const places = new Map<string, number[]>()
  for (const [at, file] of files.entries()) if (isComing(file)) places.set(file.key, [...(places.get(file.key) ?? []), at])
  const each = (file: string, tell: (at: number) => void) => {
    for (const at of places.get(file) ?? []) tell(at)
  }
  arriving.listen({
    begun: (file, place) => each(file, (at) => native.begin(at, place)),
    arrived: (file, leaf, pages) => each(file, (at) => native.arrive(at, leaf, pages)),
    finished: (file) => each(file, (at) => native.finish(at)),
    failed: (error) => native.fail(error.message),
    resumed: () => native.resume(),
    wanted: () => {
      const pairs = native.takeWanted()
      return Array.from({ length: pairs.length / 2 }, (_, i): LeafOf => ({ file: files[pairs[2 * i]!]!.key, leaf: pairs[2 * i + 1]! }))
    },
  })
  return native
}
