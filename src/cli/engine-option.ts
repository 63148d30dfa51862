import { Option } from 'commander'

/** `--engine`, as every command that runs models has it. */
export function engineOption(): Option {
  return new Option('--engine <name>', 'what computes').choices(['auto', 'native', 'onnx']).default('auto')
}
