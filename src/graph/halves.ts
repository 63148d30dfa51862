import type { GraphIndex } from './cut.js'
import { liveGraph } from './live.js'
import { partsOf } from './part.js'
import { readsOf } from './subgraphs.js'

/** The input that makes a graph an encoder and a decoder: the tokens of the decoder. */
export const DECODER_IDS = 'decoder_input_ids'

/** A graph of an encoder and a decoder as two: what stays the same from token to token of a generation, and what doesn't. */
export interface Halves {
  readonly encoder: GraphIndex
  readonly decoder: GraphIndex
}

/**
 * Cuts a graph that has decoder tokens: the decoder is whatever depends on them or on its caches, the encoder the rest that depends
 * on any input (what the decoder's layers make of the encoder's states, too); what depends on weights alone is where it is used.
 * Undefined for a graph without a decoder's tokens, or where all depends on them.
 */
export function halvesOf(index: GraphIndex): Halves | undefined {
  const names = index.inputs.map(({ name }) => name)
  if (!names.includes(DECODER_IDS)) return undefined
  const late = new Set(names.filter(isOfDecoder))
  const early = new Set(names.filter((name) => !isOfDecoder(name)))
  for (const node of index.nodes) {
    const reads = readsOf(node)
    const side = reads.some((name) => late.has(name)) ? late : reads.some((name) => early.has(name)) ? early : undefined
    for (const name of node.output) if (name !== '') side?.add(name)
  }
  const without = (side: ReadonlySet<string>) => index.nodes.filter(({ output }) => !output.some((name) => side.has(name)))
  const [encoder, decoder] = partsOf(index, [without(late), without(early)]).map(liveGraph) as [GraphIndex, GraphIndex]
  return encoder.inputs.length > 0 ? { encoder, decoder } : undefined
}

function isOfDecoder(name: string): boolean {
  return name.startsWith('decoder_') || name.startsWith('past_key_values.')
}
