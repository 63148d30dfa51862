// A process that renders one chat template, and is ended if that takes too long or too much memory.
import { Template } from '@huggingface/jinja'
import { LIMITS } from '../core/limits.js'
import type { RenderResult, RenderTask } from './render.js'

function rendered({ template, variables }: RenderTask): RenderResult {
  try {
    const text = new Template(template).render(variables)
    return text.length > LIMITS.rendered ? { tooLong: text.length } : { text }
  } catch (error) {
    return { refusal: error instanceof Error ? error.message : String(error) }
  }
}

process.once('message', (task: RenderTask) => process.send!(rendered(task), () => process.disconnect()))
