import { Option } from 'commander'
import { ENGINE_CHOICES } from '../engines/choice.js'

/** `--engine`, as every command that runs models has it. */
export function engineOption(): Option {
  return new Option('--engine <name>', 'what computes').choices(ENGINE_CHOICES).default('auto')
}
