import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'
import { expertsOf, stackedExperts } from './experts.js'
import type { Family } from './family.js'
import { turnOf } from './turn.js'

const MODULE = 'block_sparse_moe'
const NAMES = { gate: 'w1', up: 'w3', down: 'w2' }

const family = decoderFamily('mixtral', (config) => {
  const headDim = headDimOf(config)
  const turn = turnOf(config, headDim, { theta: 1000000 })
  const window = config.has('sliding_window') ? config.size('sliding_window') : undefined
  return {
    headDim,
    kvHeads: kvHeadsOf(config, 8),
    turn: () => turn,
    window: () => window,
    usualEpsilon: 1e-5,
    experts: {
      ...expertsOf(config, { count: 8, perToken: 2 }),
      inner: config.size('intermediate_size'),
      normalised: true,
      module: MODULE,
      names: NAMES,
    },
  }
})

/** Mixtral: Mistral with experts in every layer, whose weights always sum to 1. */
export const mixtral: Family = { ...family, parts: stackedExperts(MODULE, NAMES) }
