/** How many rows at once are multiplied: in float32, or with activations rounded where the processor has instructions for it. */
export const PRECISIONS = ['exact', 'fast'] as const
export type Precision = (typeof PRECISIONS)[number]

/** How the caches of generations keep keys and values. */
export const KV_CACHES = ['f32', 'f16'] as const
export type KvCache = (typeof KV_CACHES)[number]

/** What of the native engine's results is given up for speed and memory; nothing where both are the first of their list. */
export interface Exactness {
  readonly precision: Precision
  readonly kvCache: KvCache
}
