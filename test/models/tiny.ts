/** Decoders among the small checkpoints that have goldens, one or more of each family. */
export const TINY_DECODERS = [
  'tiny-llama',
  'tiny-llama3-rope',
  'tiny-mistral',
  'tiny-qwen2',
  'tiny-qwen3',
  'tiny-gpt2',
  'tiny-smollm3',
  'tiny-phi3',
  'tiny-gemma2',
  'tiny-gemma3',
  'tiny-gpt-neox',
] as const

/** Those of them whose layers have experts. */
export const TINY_MIXTURES = ['tiny-mixtral', 'tiny-qwen3-moe', 'tiny-olmoe'] as const
