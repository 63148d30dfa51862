import { loadModel, openStore } from '../../src/api/index.js'

// Runs a model that arrives, until it is killed.
const [cid, home, source, engine] = process.argv.slice(2)
await using model = await loadModel(cid!, { store: await openStore(home), sources: [source!], engine: engine as 'auto' })
await model.run({ input_ids: { type: 'int64', data: BigInt64Array.of(5n), dims: [1, 1] } })
