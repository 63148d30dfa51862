import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import type { StateDict } from '../src/graph/weights.js'
import type { Config } from './config.js'
import type { Pooling } from './pooling.js'

/** What a graph needs to know beyond config.json. */
export interface BuildOptions {
  /** how an encoder makes one vector of a sentence; mean over the mask, normalised, when left out */
  readonly pooling?: Pooling
}

/** A tensor among those that another one holds. */
export interface TensorPart {
  readonly name: string
  readonly shape: readonly number[]
}

/**
 * One model architecture: how its config.json and its tensor names become a graph.
 *
 * A decoder's graph has the inputs `input_ids` I64 (batch, sequence), `attention_mask` I64 (batch, total_sequence),
 * `position_ids` I64 (batch, sequence) and per layer `past_key_values.N.key|value` F32 (batch, kv_heads, past_sequence,
 * head_dim), where total = past + sequence and past may be 0; its outputs are `logits` F32 (batch, sequence, vocab) and
 * `present.N.key|value` (batch, kv_heads, total_sequence, head_dim).
 * A text encoder's has `input_ids`, `attention_mask` and, where the family has kinds of tokens, `token_type_ids`, all I64 (batch,
 * sequence); its outputs are `last_hidden_state` F32 (batch, sequence, hidden) and `sentence_embedding` F32 (batch, width).
 * An encoder-decoder's has `input_ids` and `attention_mask` (batch, encoder_sequence) for its encoder, `decoder_input_ids` (batch,
 * sequence), `decoder_attention_mask` (batch, total_sequence) and the caches of a decoder for its decoder; its outputs are those of a decoder
 * and `encoder_last_hidden_state` F32 (batch, encoder_sequence, hidden).
 * What an image encoder has is said where it is made.
 */
export interface Family {
  /** values of `model_type` in config.json */
  readonly modelTypes: readonly string[]
  readonly task: 'decoder' | 'encoder' | 'encoder-decoder'
  /**
   * Tensors that are one tensor in this model (alias -> owner), of those names that a checkpoint has or may leave out.
   * The owner is always one of `names`.
   */
  ties(config: Config, names: ReadonlySet<string>): ReadonlyMap<string, string>
  /**
   * The tensors that one of a checkpoint is in an asset, where it has another name or holds several, one after the other:
   * experts that are stacked. Undefined for one that stays.
   */
  parts?(name: string, shape: readonly number[]): readonly TensorPart[] | undefined
  /**
   * @throws AssetError 'BAD_INPUT' for a config.json or weights that do not make a model, 'UNSUPPORTED' for a variant that this family does not know
   */
  build(config: Config, weights: StateDict, options: BuildOptions): ModelProto
}

/** The names of a state dict, for {@link Family.ties}. */
export function namesOf(weights: StateDict): ReadonlySet<string> {
  return new Set(weights.keys())
}
