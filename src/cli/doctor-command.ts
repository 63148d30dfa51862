import { availableParallelism, totalmem } from 'node:os'
import type { Command } from 'commander'
import { knownFamilies } from '../../models/registry.js'
import { formatBytes } from '../core/bytes.js'
import { INSTALL_RUNTIME } from '../engines/onnx.js'
import { defaultStorePath } from '../store/layout.js'
import { print, table } from './output.js'

/** The command that says what this machine has and what is missing. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('say what this machine has, what is missing, and the command that adds it')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const onnxruntime = await import('onnxruntime-node').then(
        () => 'present',
        () => `absent: ${INSTALL_RUNTIME}`,
      )
      const facts = {
        node: process.version,
        platform: `${process.platform}-${process.arch}`,
        cores: availableParallelism(),
        memory: formatBytes(totalmem()),
        store: defaultStorePath(),
        onnxruntime,
        families: knownFamilies().join(', '),
      }
      print(options.json ? JSON.stringify(facts) : table(Object.entries(facts).map(([name, value]) => [name, String(value)])))
    })
}
