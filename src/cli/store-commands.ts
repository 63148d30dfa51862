import type { Command } from 'commander'
import { openStore } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import { numberOption } from './number-option.js'
import { note, print, table } from './output.js'

const DAY = 24 * 3600 * 1000

/** Commands that look after the store: ls, rm, pin, unpin, gc. */
export function addStoreCommands(program: Command): void {
  program
    .command('ls')
    .description('list the assets in the local store')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset ls')
    .action(async (options: { json?: boolean }) => {
      const assets = await (await openStore()).list()
      if (options.json) print(JSON.stringify(assets))
      else if (assets.length === 0) note('the store is empty; "masset fragment DIR --store" adds an asset')
      else
        print(table(assets.map(({ cid, kind, size, name, pinned }) => [cid, kind, formatBytes(size), pinned ? 'pinned' : '', name ?? ''])))
    })
  program
    .command('rm')
    .description('remove assets from the local store, and the files that no other asset needs')
    .argument('<cid...>')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset rm bafy...')
    .action(async (cids: string[], options: { json?: boolean }) => {
      const store = await openStore()
      for (const cid of cids) {
        const freed = await store.remove(cid)
        if (options.json) print(JSON.stringify({ cid, freed }))
        else note(`removed ${cid}, ${formatBytes(freed)} freed`)
      }
    })
  for (const [name, done, description] of [
    ['pin', 'pinned', 'keep assets of the local store from being removed'],
    ['unpin', 'unpinned', 'let assets be removed again'],
  ] as const)
    program
      .command(name)
      .description(description)
      .argument('<cid...>')
      .option('--json', 'print JSON')
      .addHelpText('after', `\nExample:\n  $ masset ${name} bafy...`)
      .action(async (cids: string[], options: { json?: boolean }) => {
        const store = await openStore()
        for (const cid of cids) {
          await store[name](cid)
          if (options.json) print(JSON.stringify({ cid, pinned: name === 'pin' }))
          else note(`${done} ${cid}`)
        }
      })
  program
    .command('gc')
    .description('remove from the local store what no asset needs: what crashes left, and pulls that nobody went on with')
    .option('--dry-run', 'only say what would be removed')
    .option(
      '--unfinished-after <days>',
      'give up a pull that nobody went on with for so long; 7 when left out',
      numberOption('unfinished-after', { from: 0, to: 36_500, wanted: 'a number of days from 0 to 36500' }),
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ masset gc --dry-run\n  $ masset gc --unfinished-after 0.5')
    .action(async ({ dryRun, unfinishedAfter, json }: { dryRun?: boolean; unfinishedAfter?: number; json?: boolean }) => {
      const milliseconds = unfinishedAfter === undefined ? undefined : unfinishedAfter * DAY
      const found = await (await openStore()).gc({ dryRun, unfinishedAfter: milliseconds })
      for (const cid of found.unfinished) note(`${dryRun ? 'would give' : 'gave'} up ${cid}, of which not all had arrived`)
      if (json) print(JSON.stringify(found))
      else print(`${formatBytes(found.freed)} ${dryRun ? 'would be' : ''} freed, ${found.files} files`.replace(/ {2,}/g, ' '))
    })
}
