#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import { addAssetCommands } from './asset-commands.js'
import { outputClosed, watchOutput } from './cancel.js'
import { addDemoCommand } from './demo-command.js'
import { addDoctorCommand } from './doctor-command.js'
import { addFolderCommands } from './folder-commands.js'
import { addGatewayCommand } from './gateway-command.js'
import { note } from './output.js'
import { addPlanCommand } from './plan-command.js'
import { addPullCommand } from './pull-command.js'
import { addRunCommand } from './run-command.js'
import { addStoreCommands } from './store-commands.js'
import { addTransferCommands } from './transfer-commands.js'

// Exit codes: 0 done, 1 failed, 2 wrong usage.
const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }

const program = new Command('masset')
  .description('Machine-learning models as content-addressed module fragments')
  .version(version)
  .addHelpText(
    'after',
    '\nExamples:\n  $ masset fragment models/demo --store\n  $ masset inspect bafy...\n  $ masset run bafy... --prompt "the 3rd of March 2021"',
  )

addAssetCommands(program)
addRunCommand(program)
addPlanCommand(program)
addPullCommand(program)
addStoreCommands(program)
addFolderCommands(program)
addTransferCommands(program)
addGatewayCommand(program)
addDoctorCommand(program)
addDemoCommand(program)
for (const command of [program, ...program.commands]) {
  const help = command === program ? 'masset --help' : `masset ${command.name()} --help`
  command.exitOverride().configureOutput({
    outputError: (text) =>
      note(
        `masset: Cannot understand the command: ${text
          .trim()
          .replace(/^error: /, '')
          .replaceAll('\n', ' ')}; "${help}" shows what there is`,
      ),
  })
}

watchOutput()
// A reader that has what it wants (head) is not a failure; a disk that is full is.
outputClosed.addEventListener('abort', () => {
  if (systemCode(outputClosed.reason) !== 'EPIPE') fail(ioError('write the output', outputClosed.reason))
})

try {
  await program.parseAsync()
} catch (error) {
  const stopped = outputClosed.aborted && error instanceof AssetError && error.code === 'ABORTED'
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else if (!stopped) fail(error)
}

function fail(error: unknown): void {
  note(`masset: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = error instanceof AssetError && error.code === 'BAD_USAGE' ? 2 : 1
}
