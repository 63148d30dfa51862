import type { Readable } from '../../core/read.js'
import type { SourceFile, TensorRef } from '../checkpoint.js'
import { readArchive } from './archive.js'
import { readStacked } from './stacked.js'
import { withoutPrefix } from './state-dict.js'

/** The tensors of what torch.save or torch.jit.save wrote. @throws AssetError */
export async function readTorch(
  handle: Readable,
  file: SourceFile,
  { isZip, isShard }: { readonly isZip: boolean; readonly isShard: boolean },
): Promise<ReadonlyMap<string, TensorRef>> {
  const tensors = await (isZip ? readArchive : readStacked)(handle, file)
  return isShard ? tensors : withoutPrefix(tensors)
}
