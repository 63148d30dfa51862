import { gemmaConfig, gpt2Config, gptNeoxConfig, llamaConfig, type ModelFacts, phi3Config, plainConfig, qwen3Config } from './configs.js'
import type { RowOrder } from './rows.js'

/** How an architecture of llama.cpp is called and stored by transformers. */
export interface Architecture {
  readonly modelType: string
  readonly className: string
  /** GGUF name -> module, without `.weight` and the like: of the model, and of a layer */
  readonly model: Readonly<Record<string, string>>
  readonly layer: Readonly<Record<string, string>>
  /** what comes before the number of a layer */
  readonly layers: string
  /** the order of rows of a layer's module, where it is another one */
  readonly rows?: Readonly<Record<string, RowOrder>>
  /** modules whose matrix transformers keeps as (inputs, outputs) */
  readonly turned?: readonly string[]
  /** true for a tensor that llama.cpp keeps with 1 added */
  readonly isRaised?: (name: string) => boolean
  /** what config.json says beyond what all have */
  config(facts: ModelFacts): Record<string, unknown>
}

const MODEL = { token_embd: 'model.embed_tokens', output_norm: 'model.norm', output: 'lm_head' }
const LAYER = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
}
const DECODER = { model: MODEL, layer: LAYER, layers: 'model.layers' }
const INTERLEAVED = { rows: { attn_q: 'interleaved-heads', attn_k: 'interleaved-kv-heads' } } as const
const GEMMA = {
  ...DECODER,
  layer: {
    ...LAYER,
    post_attention_norm: 'post_attention_layernorm',
    ffn_norm: 'pre_feedforward_layernorm',
    post_ffw_norm: 'post_feedforward_layernorm',
  },
  isRaised: (name: string) => name.endsWith('norm.weight'),
  config: gemmaConfig,
}

/** By the name that llama.cpp has for it. A new one is an entry here and, where it differs in more, a function in configs.ts. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: { ...DECODER, ...INTERLEAVED, modelType: 'llama', className: 'LlamaForCausalLM', config: llamaConfig },
  smollm3: { ...DECODER, ...INTERLEAVED, modelType: 'smollm3', className: 'SmolLM3ForCausalLM', config: llamaConfig },
  qwen2: { ...DECODER, modelType: 'qwen2', className: 'Qwen2ForCausalLM', config: plainConfig },
  qwen3: { ...DECODER, modelType: 'qwen3', className: 'Qwen3ForCausalLM', config: qwen3Config },
  phi3: {
    ...DECODER,
    layer: { ...LAYER, attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' },
    modelType: 'phi3',
    className: 'Phi3ForCausalLM',
    config: phi3Config,
  },
  gemma2: { ...GEMMA, modelType: 'gemma2', className: 'Gemma2ForCausalLM' },
  gemma3: { ...GEMMA, modelType: 'gemma3_text', className: 'Gemma3ForCausalLM' },
  gpt2: {
    model: { token_embd: 'transformer.wte', position_embd: 'transformer.wpe', output_norm: 'transformer.ln_f', output: 'lm_head' },
    layer: {
      attn_norm: 'ln_1',
      attn_qkv: 'attn.c_attn',
      attn_output: 'attn.c_proj',
      ffn_norm: 'ln_2',
      ffn_up: 'mlp.c_fc',
      ffn_down: 'mlp.c_proj',
    },
    layers: 'transformer.h',
    turned: ['attn_qkv', 'attn_output', 'ffn_up', 'ffn_down'],
    modelType: 'gpt2',
    className: 'GPT2LMHeadModel',
    config: gpt2Config,
  },
  gptneox: {
    model: { token_embd: 'gpt_neox.embed_in', output_norm: 'gpt_neox.final_layer_norm', output: 'embed_out' },
    layer: {
      attn_norm: 'input_layernorm',
      attn_qkv: 'attention.query_key_value',
      attn_output: 'attention.dense',
      ffn_norm: 'post_attention_layernorm',
      ffn_up: 'mlp.dense_h_to_4h',
      ffn_down: 'mlp.dense_4h_to_h',
    },
    layers: 'gpt_neox.layers',
    rows: { attn_qkv: 'thirds-by-head' },
    modelType: 'gpt_neox',
    className: 'GPTNeoXForCausalLM',
    config: gptNeoxConfig,
  },
}

/** The architecture that a file names; undefined for one that is not known. */
export function architectureOf(name: string | undefined): Architecture | undefined {
  return name !== undefined && Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined
}

/** Tensors that say what config.json says otherwise. */
export const IN_CONFIG: readonly string[] = ['rope_freqs.weight', 'rope_factors_long.weight', 'rope_factors_short.weight']

/** Modules whose rows are looked up. */
export const TABLES: readonly string[] = ['token_embd', 'position_embd']

/** A GGUF name taken apart: the module of a layer or of the model, and what of it, `weight` or `bias`. */
export interface NamedPart {
  readonly part: string
  readonly layer: string | undefined
  readonly suffix: string
}

/** Takes `blk.3.attn_q.weight` apart; undefined for a name of another form. */
export function partOf(name: string): NamedPart | undefined {
  const found = /^(?:blk\.(0|[1-9]\d{0,5})\.)?([a-z0-9_]+)\.(weight|bias)$/.exec(name)
  return found ? { layer: found[1], part: found[2]!, suffix: found[3]! } : undefined
}

/** What transformers calls a tensor; undefined for one that the architecture doesn't have. */
export function nameIn({ model, layer: parts, layers }: Architecture, { part, layer, suffix }: NamedPart): string | undefined {
  const names = layer === undefined ? model : parts
  if (!Object.hasOwn(names, part)) return undefined
  return layer === undefined ? `${names[part]}.${suffix}` : `${layers}.${layer}.${names[part]}.${suffix}`
}
