import { AssetError } from '../src/core/errors.js'
import { ConfigReader } from './config.js'
import { decoderFamily } from './decoder.js'
import { capOf, gemmaLayerTypes, gemmaTraits, gemmaWindow } from './gemma2.js'
import { readTurn, type Turn } from './turn.js'

/** Gemma 3, text alone: Gemma 2 with norms of queries and keys instead of caps; layers with a window turn by a base of their own. */
export const gemma3 = decoderFamily(
  'gemma3_text',
  (config) => {
    // transformers reads it and does nothing with it, so nobody knows what a checkpoint that says it wants.
    if (config.has('attn_logit_softcapping'))
      throw new AssetError('UNSUPPORTED', 'Cannot build the graph: attn_logit_softcapping is not supported for this family')
    const traits = gemmaTraits(config)
    const typeOf = gemmaLayerTypes(config, config.size('sliding_window_pattern', 6))
    const turns = turnsOf(config, traits.headDim)
    return {
      ...traits,
      headNorm: true,
      logitCap: capOf(config, 'final_logit_softcapping', undefined),
      window: gemmaWindow(config, typeOf),
      turn: (layer) => turns[typeOf(layer)],
    }
  },
  true,
)

/** By type of layer: `rope_parameters` has an object for each; older files have `rope_theta`, `rope_scaling` and `rope_local_base_freq`. */
function turnsOf(config: ConfigReader, headDim: number): { readonly full_attention: Turn; readonly sliding_attention: Turn } {
  const both = config.object('rope_parameters')
  if (both?.has('rope_type') || both?.has('rope_theta'))
    throw new AssetError('UNSUPPORTED', 'Cannot build the graph: rope_parameters for all layers alike are not supported for this family')
  const local = config.positive('rope_local_base_freq', 10000)
  return {
    full_attention: readTurn(config.object('rope_scaling') ?? both?.object('full_attention'), config, headDim, { theta: 1000000 }),
    sliding_attention: {
      ...readTurn(both?.object('sliding_attention'), new ConfigReader({}), headDim, { theta: local }),
      name: 'local_inv_freq',
    },
  }
}
