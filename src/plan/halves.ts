import { tooSmall } from './too-small.js'

/** The smallest budget for some weights, and all of them; bytes. */
export interface Bounds {
  readonly minimum: number
  readonly total: number
}

/**
 * Shares a budget in bytes out between an encoder, which runs once for a generation, and its decoder, which runs for every token: the
 * decoder gets what it takes to hold all of its weights, as far as the encoder's minimum allows. Pure.
 * @throws AssetError 'BUDGET_TOO_SMALL', naming the minimum
 */
export function shareBudget(encoder: Bounds, decoder: Bounds, budgetOf: (total: number) => number): { encoder: number; decoder: number } {
  const minimum = encoder.minimum + decoder.minimum
  const budget = budgetOf(encoder.total + decoder.total)
  if (budget < minimum)
    throw tooSmall(budget, minimum, 'encoder and decoder, each with its small tensors, largest weights and their read-ahead,')
  const share = Math.max(decoder.minimum, Math.min(decoder.total, budget - encoder.minimum))
  return { encoder: budget - share, decoder: share }
}
