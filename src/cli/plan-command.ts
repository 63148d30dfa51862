import type { Command } from 'commander'
import { type MemoryPlan, type PlannedSegment, plan } from '../api/index.js'
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
  const { engine } = found
  const tiles = { native: 'in tiles of ', onnx: 'out of ', mixed: 'of ' }[engine]
  return [
    table([
      ['weights', formatBytes(found.weightBytes)],
      ['budget', `${formatBytes(found.budget)} (at least ${found.minimum} bytes)`],
      ...(found.tokenizerBytes > 0 ? [['tokenizer', `${formatBytes(found.tokenizerBytes)} of it, estimated`]] : []),
      ['engine', engineText(found)],
      [
        'pinned',
        engine === 'onnx' ? `${formatBytes(found.pinnedBytes)} in ${found.pinned.length} tensors` : formatBytes(found.pinnedBytes),
      ],
      ['streamed', `${formatBytes(found.bytesPerToken)} per token, ${tiles}${found.streamed.length} tensors`],
      ...(found.expertBytes > 0
        ? [
            [
              'experts',
              `${formatBytes(found.expertBytes)}, of which ${formatBytes(found.expertCacheBytes)} stay by their last use; others are read when a token is sent to them`,
            ],
          ]
        : []),
      [
        'disk',
        `${formatBytes(found.diskBytesPerSecond)}/s, measured on this asset${found.diskIsDirect ? '' : ' (perhaps out of the page cache)'}`,
      ],
      [
        'predicted',
        found.tokensPerSecond === undefined
          ? found.expertBytes > found.expertCacheBytes
            ? 'depends on which experts the tokens are sent to'
            : 'nothing streams: as fast as it computes'
          : `about ${found.tokensPerSecond.toFixed(1)} tokens/s from a cold disk, if reading is what takes longest`,
      ],
    ]),
    ...(engine === 'onnx' && found.streamed.length > 0 ? ['streamed, in order:', table(found.streamed.map((name) => [`  ${name}`]))] : []),
    ...(engine === 'mixed' ? ['segments, in order, with the weights that each uses:', table(found.segments.map(segmentLine))] : []),
  ].join('\n')
}

function engineText({ engine, segments }: MemoryPlan): string {
  if (engine === 'native') return 'native, one segment'
  if (engine === 'onnx') return `onnx (not native: ${segments[0]!.why})`
  const native = segments.filter((segment) => segment.engine === 'native').length
  return `mixed, ${segments.length} segments: ${native} native, ${segments.length - native} onnx`
}

function segmentLine({ engine, nodes, weightBytes, why }: PlannedSegment): string[] {
  const count = nodes === 1 ? '1 node' : `${nodes} nodes`
  return [`  ${engine}`, count, formatBytes(weightBytes), why === undefined ? '' : `not native: ${why}`]
}
