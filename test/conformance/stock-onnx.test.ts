import { describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { golden, idTensor, worstDifference } from '../executor/assets.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'

const runtime = await import('onnxruntime-node').catch(() => undefined)

describe.runIf(runtime && sharedModel('tiny-llama'))('an asset folder opens in stock ONNX Runtime', () => {
  it.each([
    'tiny-llama',
    'tiny-qwen2',
    'tiny-mistral',
    'tiny-gpt2',
    'tiny-bert',
    'tiny-smollm3',
    'tiny-phi3',
    'tiny-gemma2',
    'tiny-gemma3',
  ])('%s, with the golden results', async (name) => {
    await using folder = await temporary()
    await fragment(sharedModel(name)!, { out: `${folder.path}/asset` })
    const { InferenceSession, Tensor } = runtime!
    const session = await InferenceSession.create(`${folder.path}/asset/model.onnx`)
    const wanted = await golden<{
      input_ids: number[][]
      attention_mask?: number[][]
      logits?: number[][][]
      last_hidden_state?: number[][][]
    }>(name)
    const { data, dims } = idTensor(wanted.input_ids)
    const [batch, sequence] = dims as [number, number]
    const mask = wanted.attention_mask ?? wanted.input_ids.map((row) => row.map(() => 1))
    const config = JSON.parse(await (await import('node:fs/promises')).readFile(`${folder.path}/asset/config.json`, 'utf8'))
    const heads = config.num_key_value_heads ?? config.n_head
    const width = config.head_dim ?? (config.hidden_size ?? config.n_embd) / (config.num_attention_heads ?? config.n_head)
    const feeds = Object.fromEntries(
      session.inputNames.map((input) => {
        if (input === 'input_ids') return [input, new Tensor('int64', data, dims)]
        if (input === 'attention_mask') return [input, new Tensor('int64', idTensor(mask).data, dims)]
        if (input === 'position_ids')
          return [input, new Tensor('int64', idTensor(wanted.input_ids.map((row) => row.map((_, at) => at))).data, dims)]
        if (input === 'token_type_ids') return [input, new Tensor('int64', new BigInt64Array(batch * sequence), dims)]
        return [input, new Tensor('float32', new Float32Array(0), [batch, heads, 0, width])]
      }),
    )
    const outputs = await session.run(feeds)
    const found = (outputs.logits ?? outputs.last_hidden_state)!.data as Float32Array
    expect(worstDifference(found, (wanted.logits ?? wanted.last_hidden_state)!.flat(2))).toBeLessThan(1e-4)
    await session.release()
  })
})
