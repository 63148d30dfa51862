// What a token costs beside its arithmetic: stories260k, whose 260,000 weights are read from the nearest caches. The arithmetic is
// taken to need what reading them from memory takes.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fragment, loadModel, openStore } from '../src/api/index.js'
import { startBounds } from './bounds.js'
import { note, type Round, report, summary } from './measure.js'
import { withFolder } from './synthetic.js'

const SETTINGS = { threads: 2, tokens: 200, rounds: 7 }
const checkpoint = fileURLToPath(new URL('../../../shared/models/stories260k', import.meta.url))

async function main(): Promise<void> {
  await withFolder(1e7, async (folder) => {
    const store = await openStore(join(folder, 'store'))
    const { cid } = await fragment(checkpoint, { store })
    await using bounds = await startBounds()
    const engines: Record<string, object> = {}
    for (const engine of ['native', 'onnx'] as const) {
      await using model = await loadModel(cid, { store, engine, threads: SETTINGS.threads })
      const rounds: Round[] = []
      for (let at = -1; at < SETTINGS.rounds; at++) {
        const { pinnedBytes, computeMs: before, passes } = await model.stats()
        const reading = pinnedBytes / 1e6 / (await bounds.memory())
        const started = performance.now()
        let tokens = 0
        for await (const _ of model.generate([1, 403, 407], { maxTokens: SETTINGS.tokens, ignoreEos: true })) tokens += 1
        const perToken = (performance.now() - started) / tokens
        const after = await model.stats()
        const perPass = (after.computeMs - before) / (after.passes - passes)
        if (at >= 0) rounds.push({ msPerToken: perToken, msPerPass: perPass, arithmeticMs: reading, overMs: perToken - reading })
      }
      engines[engine] = summary(rounds)
    }
    report('overhead', { model: 'stories260k', settings: SETTINGS, engines })
  })
}

if (existsSync(checkpoint)) await main()
else note(`overhead: left out, since there is no checkpoint in ${checkpoint}`)
