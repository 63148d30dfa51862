import { availableParallelism, totalmem } from 'node:os'
import type { Command } from 'commander'
import { formatBytes } from '../core/bytes.js'
import { oneLine } from '../core/one-line.js'
import { foundAddon, NoAddon } from '../engines/native/find-addon.js'
import { INSTALL_RUNTIME } from '../engines/onnx.js'
import { defaultStorePath } from '../store/layout.js'
import { print, table } from './output.js'
import { measureOwnMemory } from './own-memory.js'

/** The command that says what this machine has and what is missing. */
export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('say what this machine has, what is missing, and the command that adds it')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset doctor')
    .action(async (options: { json?: boolean }) => {
      const onnxruntime = await import('onnxruntime-node').then(
        () => 'present',
        () => `absent: ${INSTALL_RUNTIME}`,
      )
      const own = await measureOwnMemory().catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))))
      const { knownFamilies } = await import('../../models/registry.js')
      const facts = {
        node: process.version,
        platform: `${process.platform}-${process.arch}`,
        cores: availableParallelism(),
        memory: formatBytes(totalmem()),
        store: defaultStorePath(),
        native: nativeState(),
        onnxruntime,
        processMemory:
          own instanceof Error
            ? `not measured: ${oneLine(own.message)}`
            : `${formatBytes(own.bytes)} beside weights and caches, in ${own.engine}`,
        ...(options.json && !(own instanceof Error) && { processMemoryBytes: own.bytes }),
        families: knownFamilies().join(', '),
      }
      print(options.json ? JSON.stringify(facts) : table(Object.entries(facts).map(([name, value]) => [name, String(value)])))
    })
}

/** The native engine's instructions, best first, and where it is; or why it is not there and what adds it. */
function nativeState(): string {
  const found = foundAddon()
  if (!(found instanceof NoAddon)) return `present: ${found.addon.instructionSets().join(', ')}, from ${found.from}`
  const advice = 'install Rust (cargo), then npm rebuild module-assets'
  return found.broken
    ? `broken, so models run in ONNX Runtime: ${oneLine(found.message)}; ${advice}`
    : `absent, so models run in ONNX Runtime: ${advice}`
}
