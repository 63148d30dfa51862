// From nothing to the first token of the demo model: starting the executor, loading, the first pass.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fragment, loadModel, openStore } from '../src/api/index.js'
import { median, report, round } from './measure.js'
import { withFolder } from './synthetic.js'

await withFolder(1e7, async (folder) => {
  const store = await openStore(join(folder, 'store'))
  const { cid } = await fragment(fileURLToPath(new URL('../../models/demo', import.meta.url)), { store })
  const engines: Record<string, object> = {}
  for (const engine of ['native', 'onnx'] as const) {
    const rounds: { load: number; first: number }[] = []
    for (let round = 0; round < 5; round++) {
      const started = performance.now()
      await using model = await loadModel(cid, { store, engine })
      const loaded = performance.now()
      for await (const _ of model.generate('4 April 1999', { maxTokens: 1 }));
      rounds.push({ load: loaded - started, first: performance.now() - loaded })
    }
    const of = (pick: (one: (typeof rounds)[number]) => number) => round(median(rounds.map(pick)))
    engines[engine] = { loadMs: of(({ load }) => load), firstTokenMs: of(({ first }) => first) }
  }
  report('load', engines)
})
