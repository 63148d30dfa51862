// What a token costs beside its arithmetic: the demo model, whose 751,000 weights are read from the nearest caches.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fragment, loadModel, openStore } from '../src/api/index.js'
import { median, report, round } from './measure.js'
import { withFolder } from './synthetic.js'

await withFolder(1e7, async (folder) => {
  const store = await openStore(join(folder, 'store'))
  const { cid } = await fragment(fileURLToPath(new URL('../../models/demo', import.meta.url)), { store })
  const engines: Record<string, number> = {}
  for (const engine of ['native', 'onnx'] as const) {
    await using model = await loadModel(cid, { store, engine })
    const times: number[] = []
    for (let round = 0; round < 6; round++) {
      const started = performance.now()
      let tokens = 0
      for await (const _ of model.generate([1, 5, 3], { maxTokens: 100, ignoreEos: true })) tokens += 1
      if (round > 0) times.push((performance.now() - started) / tokens)
    }
    engines[engine] = round(median(times))
  }
  report('overhead', { millisecondsPerToken: engines })
})
