import type { Command } from 'commander'
import { type MemoryPlan, plan } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import type { EngineChoice } from '../engines/choice.js'
import { engineOption } from './engine-option.js'
import { print, table } from './output.js'

/** The command that says what a memory budget would mean. */
export function addPlanCommand(program: Command): void {
  program
    .command('plan')
    .description('print what would be pinned and streamed within a memory budget, and what a token would read')
    .argument('<asset>', 'CID or folder')
    .option('--memory <size>', 'most bytes of weights in memory, such as 512MiB; all of them when left out')
    .addOption(engineOption())
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset plan bafy... --memory 512MiB')
    .action(async (asset: string, options: { memory?: string; engine: EngineChoice; json?: boolean }) => {
      const found = await plan(asset, { memory: options.memory, engine: options.engine })
      print(options.json ? JSON.stringify(found) : planText(found))
    })
}

function planText(found: MemoryPlan): string {
  const native = found.engine === 'native'
  const streamed = found.streamed.map((name) => [`  ${name}`])
  return [
    table([
      ['weights', formatBytes(found.weightBytes)],
      ['budget', `${formatBytes(found.budget)} (at least ${found.minimum} bytes)`],
      ...(found.tokenizerBytes > 0 ? [['tokenizer', `${formatBytes(found.tokenizerBytes)} of it, estimated`]] : []),
      ['engine', `${found.engine}, ${found.segments === 1 ? 'one segment' : `${found.segments} segments`}`],
      ['pinned', native ? formatBytes(found.pinnedBytes) : `${formatBytes(found.pinnedBytes)} in ${found.pinned.length} tensors`],
      ['streamed', `${formatBytes(found.bytesPerToken)} per token, ${native ? 'in tiles' : 'out'} of ${found.streamed.length} tensors`],
      [
        'disk',
        `${formatBytes(found.diskBytesPerSecond)}/s, measured on this asset${found.diskIsDirect ? '' : ' (perhaps out of the page cache)'}`,
      ],
      [
        'predicted',
        found.tokensPerSecond === undefined
          ? 'nothing streams: as fast as it computes'
          : `about ${found.tokensPerSecond.toFixed(1)} tokens/s from a cold disk, if reading is what takes longest`,
      ],
    ]),
    ...(streamed.length > 0 && !native ? ['streamed, in order:', table(streamed)] : []),
  ].join('\n')
}
