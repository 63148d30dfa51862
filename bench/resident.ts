// Decoding with all weights in memory: bytes of weights that a token touches per second, against what two threads can read;
// beside it llama.cpp.
import { statSync } from 'node:fs'
import { loadModel } from '../src/api/index.js'
import { startBounds } from './bounds.js'
import { eachDtype } from './llama-1b.js'
import { withLlamaCpp } from './llama-cpp.js'
import { median, type Round, report, round, summary } from './measure.js'
import { promptOf } from './prompt.js'

const SETTINGS = { threads: 2, tokens: 8, rounds: 7 }

await eachDtype(async (measured) => {
  const { dtype, store, cid, weightBytes } = measured
  await using bounds = await startBounds()
  const started = performance.now()
  await using model = await loadModel(cid, { store, engine: 'native', memory: weightBytes, threads: SETTINGS.threads })
  const loadMs = performance.now() - started
  const decode = async () => {
    const times: number[] = []
    let last = performance.now()
    for await (const _ of model.generate(promptOf(3), { maxTokens: 1 + SETTINGS.tokens, ignoreEos: true })) {
      times.push((performance.now() - last) / 1000)
      last = performance.now()
    }
    // the first also computes the prompt
    return median(times.slice(1))
  }
  await withLlamaCpp(measured, async (peer, installed) => {
    await decode()
    await peer?.decode(SETTINGS.tokens)
    const peerBytes = installed ? statSync(installed.gguf).size : 0
    const rounds: Round[] = []
    let before = await bounds.memory()
    for (let at = 0; at < SETTINGS.rounds; at++) {
      const ours = await decode()
      const between = await bounds.memory()
      const theirs = (await peer?.decode(SETTINGS.tokens))?.secondsPerToken
      const after = await bounds.memory()
      const bound = (before + between) / 2
      rounds.push({
        tokensPerSecond: 1 / ours,
        gigabytesPerSecond: weightBytes / 1e9 / ours,
        readBandwidth: bound,
        ofReadBandwidth: weightBytes / 1e9 / ours / bound,
        ...(theirs && {
          llamaCppTokensPerSecond: 1 / theirs,
          llamaCppOfReadBandwidth: peerBytes / 1e9 / theirs / ((between + after) / 2),
          overLlamaCpp: theirs / ours,
        }),
      })
      before = after
    }
    const megabytes = { weightsMB: round(weightBytes / 1e6), loadMs: round(loadMs) }
    const peers = installed && { llamaCpp: installed.version, llamaCppMB: round(peerBytes / 1e6) }
    report('resident', { dtype, ...megabytes, ...peers, settings: SETTINGS, ...summary(rounds) }, `resident-${dtype}`)
  })
})
