import { join } from 'node:path'
import { loadModel, type Model } from '../../src/api/index.js'
import { AssetError } from '../../src/core/errors.js'
import { serializeGraph } from '../../src/graph/parse.js'
import { graphAsset } from './graph-asset.js'
import { HOSTILE } from './hostile-graphs.js'

// A process of its own: node hostile-child.js FOLDER ENGINE runs each hostile graph and writes a line of JSON about how it
// ended. A graph that ends the process shows by the lines that are missing.

async function use(model: Model, name: string): Promise<Record<string, unknown>> {
  const { feeds = {}, generates } = HOSTILE[name]!
  if (generates) {
    const tokens: number[] = []
    for await (const { tokenId } of model.generate([1], { maxTokens: 2 })) tokens.push(tokenId)
    return { tokens }
  }
  const outputs = await model.run(feeds)
  return {
    outputs: Object.fromEntries(
      Object.entries(outputs).map(([key, { dims, data }]) => [key, { dims, data: Array.from(data as Float32Array, Number) }]),
    ),
  }
}

const [folder, engine] = process.argv.slice(2) as [string, 'onnx' | 'native']
for (const [at, name] of Object.keys(HOSTILE).entries()) {
  let ended: Record<string, unknown>
  try {
    await using model = await loadModel(await graphAsset(join(folder, String(at)), serializeGraph(HOSTILE[name]!.model)), { engine })
    ended = await use(model, name)
  } catch (error) {
    const { message, code } = error as AssetError
    ended = { message, code, typed: error instanceof AssetError }
  }
  process.stdout.write(`${JSON.stringify({ name, ...ended })}\n`)
}
