import { idTensor } from './assets.js'

/** Rows of whole numbers. */
type Ids = readonly (readonly number[])[]

const runtime = await import('onnxruntime-node').catch(() => undefined)

/** What stock ONNX Runtime makes of ids (batch, sequence) with a model that has its weights beside it, opened as anybody would; undefined where it is not installed. */
export async function stockOutputs(file: string, ids: Ids, mask?: Ids, decoderIds: Ids = []) {
  if (!runtime) return undefined
  const { InferenceSession, Tensor } = runtime
  const session = await InferenceSession.create(file)
  const each = (value: (at: number) => number) => idTensor(ids.map((row) => row.map((_, at) => value(at))))
  const made: Record<string, ReturnType<typeof idTensor>> = {
    input_ids: idTensor(ids),
    attention_mask: mask ? idTensor(mask) : each(() => 1),
    position_ids: each((at) => at),
    token_type_ids: each(() => 0),
    ...(decoderIds.length > 0 && {
      decoder_input_ids: idTensor(decoderIds),
      decoder_attention_mask: idTensor(decoderIds.map((row) => row.map(() => 1))),
    }),
  }
  const feeds = session.inputMetadata.map((input) => {
    const ready = made[input.name]
    if (ready) return [input.name, new Tensor('int64', ready.data, ready.dims)]
    // An empty cache: (batch, heads, positions, width of a head).
    const [, heads, , width] = input.isTensor ? input.shape : []
    return [input.name, new Tensor('float32', new Float32Array(0), [ids.length, Number(heads), 0, Number(width)])]
  })
  const outputs = await session.run(Object.fromEntries(feeds))
  await session.release()
  return outputs
}

/** The logits, or the hidden states, that it makes with the model in an asset folder. */
export async function stockLogits(folder: string, ids: Ids, mask?: Ids, decoderIds?: Ids): Promise<Float32Array | undefined> {
  const outputs = await stockOutputs(`${folder}/model.onnx`, ids, mask, decoderIds)
  return outputs && ((outputs.logits ?? outputs.last_hidden_state)!.data as Float32Array)
}
