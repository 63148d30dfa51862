import type { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'

/** The last rows of logits (rows, sequence, vocabulary), of one sequence unless said otherwise. @throws AssetError 'UNSUPPORTED' where the model gives something else by that name */
export function lastLogits(logits: Tensor | undefined, rows = 1): Float32Array {
  const [batch, sequence, vocabulary] = logits?.dims ?? []
  if (logits?.type !== 'float32' || logits.dims.length !== 3 || batch !== rows || !sequence || !vocabulary)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot generate: the model's logits are ${logits ? `${logits.type} [${logits.dims}]` : 'missing'}, expected float32 [${rows},sequence,vocabulary]; use run`,
    )
  return (logits.data as Float32Array).subarray(-rows * vocabulary)
}
