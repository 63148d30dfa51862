import { Tokenizer as Tokenizers } from '@huggingface/tokenizers'
import { AssetError } from '../core/errors.js'
import { renderTemplate } from './render.js'

/** One message of a conversation. */
export interface Message {
  readonly role: string
  readonly content: string
}

type Json = Record<string, unknown>

/** Text to token ids and back, and conversations to text, as a model's own files say. */
export class Tokenizer {
  private readonly tokenizers: Tokenizers

  /** @throws AssetError 'BAD_INPUT' where tokenizer.json is not one */
  constructor(
    tokenizer: Json,
    private readonly config: Json,
    private readonly template: string | undefined = templateOf(config),
  ) {
    try {
      this.tokenizers = new Tokenizers(tokenizer, config)
    } catch (cause) {
      throw new AssetError('BAD_INPUT', `Cannot read tokenizer.json: ${cause instanceof Error ? cause.message : cause}`, { cause })
    }
  }

  encode(text: string, addSpecialTokens = true): number[] {
    return this.tokenizers.encode(text, { add_special_tokens: addSpecialTokens }).ids
  }

  decode(ids: readonly number[]): string {
    return ids.length === 0 ? '' : this.tokenizers.decode([...ids], { skip_special_tokens: true })
  }

  get hasTemplate(): boolean {
    return this.template !== undefined
  }

  /**
   * The text of a conversation by the model's chat template, ready for the answer.
   * @throws AssetError 'UNSUPPORTED' without a template, 'BAD_INPUT' where it refuses the messages, 'LIMIT' where it takes too long or too much
   */
  async render(messages: readonly Message[], addGenerationPrompt = true): Promise<string> {
    if (this.template === undefined)
      throw new AssetError('UNSUPPORTED', 'Cannot render messages: the model has no chat template; give a prompt as text')
    const variables = { ...specialTokens(this.config), messages, add_generation_prompt: addGenerationPrompt }
    return renderTemplate({ template: this.template, variables })
  }
}

/** `<s>` and the like for templates: plain texts, or added tokens with their text inside. */
function specialTokens(config: Json): Json {
  const tokens = Object.entries(config).filter(([key]) => key.endsWith('_token'))
  return Object.fromEntries(
    tokens.map(([key, value]) => [key, typeof value === 'object' && value !== null && 'content' in value ? value.content : value]),
  )
}

function templateOf(config: Json): string | undefined {
  const template = config.chat_template
  if (typeof template === 'string') return template
  if (!Array.isArray(template)) return undefined
  return template.find((entry) => entry?.name === 'default')?.template
}
