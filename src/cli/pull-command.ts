import type { Command } from 'commander'
import { pull } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import { note, print, withProgress } from './output.js'

/** What `--from` takes, for those who ask for help. */
export const FROM =
  'kubo:URL, gateway:URL, a CAR file, or a URI as for "masset locations"; default: those locations, and MODULE_ASSETS_SOURCES'

/** The command that pulls an asset. */
export function addPullCommand(program: Command): void {
  program
    .command('pull')
    .description('pull an asset into the local store; only blocks that it lacks are fetched')
    .argument('<cid>', 'CID of the asset')
    .option('--from <source...>', FROM)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nInterrupted in whatever way, the same command goes on from where it was.\n\nExamples:\n  $ masset pull bafy... --from kubo:http://127.0.0.1:5001\n  $ masset pull bafy... --from gateway:https://example.org asset.car',
    )
    .action(async (cid: string, options: { from?: string[]; json?: boolean }) => {
      const pulled = await withProgress((call) => pull(cid, { ...call, from: options.from }))
      const { fetched, present } = pulled
      note(`fetched ${amount(fetched)}; ${amount(present)} were there`)
      print(options.json ? JSON.stringify(pulled) : pulled.cid)
    })
}

/** `1 block, 12 KiB` */
export function amount({ blocks, bytes }: { readonly blocks: number; readonly bytes: number }): string {
  return `${blocks} ${blocks === 1 ? 'block' : 'blocks'}, ${formatBytes(bytes)}`
}
