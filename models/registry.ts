import { AssetError } from '../src/core/errors.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import type { StateDict } from '../src/graph/weights.js'
import { bert } from './bert.js'
import type { Config } from './config.js'
import { distilbert } from './distilbert.js'
import type { BuildOptions, Family } from './family.js'
import { gemma2 } from './gemma2.js'
import { gemma3 } from './gemma3.js'
import { gptNeox } from './gpt-neox.js'
import { gpt2 } from './gpt2.js'
import { llama } from './llama.js'
import { mistral } from './mistral.js'
import { mixtral } from './mixtral.js'
import { olmoe } from './olmoe.js'
import { phi3 } from './phi3.js'
import { qwen2 } from './qwen2.js'
import { qwen3 } from './qwen3.js'
import { qwen3Moe } from './qwen3-moe.js'
import { roberta } from './roberta.js'
import { smollm3 } from './smollm3.js'
import { t5 } from './t5.js'
import { vit } from './vit.js'

// A new family is one file and one entry here.
const FAMILIES: readonly Family[] = [
  bert,
  distilbert,
  gemma2,
  gemma3,
  gpt2,
  gptNeox,
  llama,
  mistral,
  mixtral,
  olmoe,
  phi3,
  qwen2,
  qwen3,
  qwen3Moe,
  roberta,
  smollm3,
  t5,
  vit,
]

/** The family of a config.json by its `model_type`; undefined for one that is not known. */
export function familyOf(config: Config): Family | undefined {
  return FAMILIES.find((family) => family.modelTypes.some((type) => type === config.model_type))
}

/** Values of `model_type` that have a family, in order. */
export function knownFamilies(): string[] {
  return FAMILIES.flatMap((family) => family.modelTypes).sort()
}

/**
 * The ONNX graph of a checkpoint: no weights inside, each initializer external and named by its state-dict key.
 * @throws AssetError 'UNSUPPORTED' for an unknown family or variant, 'BAD_INPUT' for a config.json or weights that do not make a model
 */
export function buildGraph(config: Config, weights: StateDict, options: BuildOptions = {}): ModelProto {
  const family = familyOf(config)
  if (!family) {
    const type = (JSON.stringify(config.model_type) ?? 'missing').slice(0, 80)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot build the graph: model_type is ${type}; the families known are ${knownFamilies().join(', ')}`,
    )
  }
  return family.build(config, weights, options)
}
