// A process of its own that runs a model as a service would: prints the bytes that it has in memory beside weights and caches.
// Arguments: CID, and --without-tokenizer.
import { loadModel } from '../api/index.js'

await using model = await loadModel(process.argv[2]!, { tokenizer: process.argv[3] !== '--without-tokenizer' })
for await (const _ of model.generate([1, 2, 3], { maxTokens: 16, ignoreEos: true }));
const { engine, residentBytes } = await model.stats()
process.stdout.write(JSON.stringify({ engine, bytes: process.memoryUsage.rss() - residentBytes }))
