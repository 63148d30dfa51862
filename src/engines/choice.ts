import { AssetError } from '../core/errors.js'

/** The engines that may be asked for. */
export const ENGINE_CHOICES = ['auto', 'native', 'onnx'] as const

/** What may compute a model: 'auto' is native where it can be, else ONNX Runtime. */
export type EngineChoice = (typeof ENGINE_CHOICES)[number]

/** Most threads that may be asked to compute; far more than help. */
export const MOST_THREADS = 256

/** Checks what a caller asks for. @throws AssetError 'BAD_USAGE' for an engine or a number of threads that there is not */
export function checkChoice({ engine, threads }: { readonly engine?: unknown; readonly threads?: unknown }): void {
  const wrong = (what: string, wanted: string) => new AssetError('BAD_USAGE', `Cannot run a model with this ${what}; give ${wanted}`)
  if (engine !== undefined && !(ENGINE_CHOICES as readonly unknown[]).includes(engine))
    throw wrong('engine', ENGINE_CHOICES.map((name) => `'${name}'`).join(' or '))
  if (threads !== undefined && !(Number.isInteger(threads) && (threads as number) >= 1 && (threads as number) <= MOST_THREADS))
    throw wrong('number of threads', `a whole number from 1 to ${MOST_THREADS}`)
}
