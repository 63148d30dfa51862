import { readFile } from 'node:fs/promises'
import { idTensor } from './assets.js'

const runtime = await import('onnxruntime-node').catch(() => undefined)

/** What stock ONNX Runtime makes of ids (batch, sequence) with the model in an asset folder, opened as anybody would; undefined where it is not installed. */
export async function stockLogits(folder: string, ids: readonly (readonly number[])[]): Promise<Float32Array | undefined> {
  if (!runtime) return undefined
  const { InferenceSession, Tensor } = runtime
  const session = await InferenceSession.create(`${folder}/model.onnx`)
  const config = JSON.parse(await readFile(`${folder}/config.json`, 'utf8'))
  const heads = config.num_key_value_heads ?? config.n_head
  const width = config.head_dim ?? (config.hidden_size ?? config.n_embd) / (config.num_attention_heads ?? config.n_head)
  const each = (value: (at: number) => number) => idTensor(ids.map((row) => row.map((_, at) => value(at))))
  const made: Record<string, ReturnType<typeof idTensor>> = {
    input_ids: idTensor(ids),
    attention_mask: each(() => 1),
    position_ids: each((at) => at),
    token_type_ids: each(() => 0),
  }
  const feeds = session.inputNames.map((name) => {
    const ready = made[name]
    return [
      name,
      ready ? new Tensor('int64', ready.data, ready.dims) : new Tensor('float32', new Float32Array(0), [ids.length, heads, 0, width]),
    ]
  })
  const outputs = await session.run(Object.fromEntries(feeds))
  await session.release()
  return (outputs.logits ?? outputs.last_hidden_state)!.data as Float32Array
}
