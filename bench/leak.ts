// Loading, running and closing a model a thousand times: memory and open files before and after.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fragment, loadModel, openStore, plan } from '../src/api/index.js'
import { report, round } from './measure.js'
import { withFolder } from './synthetic.js'

const CYCLES = 1000

await withFolder(1e7, async (folder) => {
  const store = await openStore(join(folder, 'store'))
  const { cid } = await fragment(fileURLToPath(new URL('../../models/demo', import.meta.url)), { store })
  const { minimum } = await plan(cid, { store, engine: 'native' })
  // keeps the executor alive: it is what must not grow
  await using kept = await loadModel(cid, { store, engine: 'native' })
  const cycle = async (memory: number) => {
    await using model = await loadModel(cid, { store, engine: 'native', memory })
    for await (const _ of model.generate('4 April 1999', { maxTokens: 2 }));
  }
  const state = () => {
    globalThis.gc?.()
    return { rss: process.memoryUsage().rss / 1e6, files: readdirSync('/proc/self/fd').length }
  }
  const figures = []
  for (let at = 0; at <= CYCLES; at++) {
    if (at % (CYCLES / 5) === 0) figures.push(state())
    await cycle(at % 2 ? minimum : 10e6)
  }
  report('leak', {
    cycles: CYCLES,
    rssMB: figures.map(({ rss }) => round(rss)),
    openFiles: figures.map(({ files }) => files),
    tokens: (await kept.stats()).tokens,
  })
})
