import type { AssetFile } from '../asset/sums.js'
import { compareUtf8 } from '../core/paths.js'
import type { StateDict, WeightRef } from '../graph/weights.js'
import { readSafetensorsHeader, type SafetensorsHeader } from '../sources/safetensors.js'
import type { OpenAsset } from './open-asset.js'
import { withPlace } from './place.js'

/** The headers of an asset's fragments in the order of their paths. @throws AssetError */
export async function* fragmentHeaders(asset: OpenAsset): AsyncGenerator<{ file: AssetFile; header: SafetensorsHeader }> {
  const fragments = [...asset.manifest.files.values()].filter(({ path }) => path.startsWith('modules/'))
  for (const file of fragments.sort((a, b) => compareUtf8(a.path, b.path))) {
    const what = `${file.path} of ${asset.where}`
    const place = await asset.placeOf(file)
    yield { file, header: await withPlace(place, what, (opened) => readSafetensorsHeader(opened, opened.size, what)) }
  }
}

/** The state dict that an asset's fragments hold. @throws AssetError */
export async function stateDictOf(asset: OpenAsset): Promise<StateDict> {
  const weights = new Map<string, WeightRef>()
  for await (const { file, header } of fragmentHeaders(asset))
    for (const [name, tensor] of header.tensors) weights.set(name, { ...tensor, location: file.path })
  return weights
}
