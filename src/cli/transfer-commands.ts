import type { Command } from 'commander'
import { exportCar, importCar, openStore, push } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import { note, print, withProgress } from './output.js'
import { amount } from './pull-command.js'

/** Commands that take assets elsewhere and bring them back: push, export, import. */
export function addTransferCommands(program: Command): void {
  program
    .command('push')
    .description('send an asset to a Kubo node: only the blocks that it lacks')
    .argument('<asset>', 'CID or folder')
    .option('--to <url>', "address of the node's RPC", 'http://127.0.0.1:5001')
    .option('--pin', "keep it from the node's garbage collection")
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ masset push bafy...\n  $ masset push bafy... --to http://127.0.0.1:5001 --pin')
    .action(async (asset: string, { to, pin, json }: { to: string; pin?: boolean; json?: boolean }) => {
      const pushed = await withProgress((call) => push(asset, { ...call, to, pin }))
      const { sent, skipped } = pushed
      note(`sent ${amount(sent)}; the node had ${amount(skipped)}${pushed.pinned ? '; pinned' : ''}`)
      print(json ? JSON.stringify(pushed) : pushed.cid)
    })
  program
    .command('export')
    .description('write an asset as a CAR file; the same asset gives the same bytes')
    .argument('<asset>', 'CID or folder')
    .argument('<file>', 'the new file, such as out.car')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset export bafy... demo.car')
    .action(async (asset: string, file: string, { json }: { json?: boolean }) => {
      const written = await withProgress((call) => exportCar(asset, file, call))
      note(`wrote ${amount(written)}`)
      if (json) print(JSON.stringify({ file, ...written }))
    })
  program
    .command('import')
    .description('take an asset out of a CAR file into the local store')
    .argument('<file>')
    .argument('[cid]', 'which asset, where the file has several roots or none')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset import demo.car')
    .action(async (file: string, cid: string | undefined, { json }: { json?: boolean }) => {
      const store = await openStore()
      const pulled = await withProgress((call) => importCar(file, { ...call, store, cid }))
      note(`${pulled.files} files, ${formatBytes(pulled.bytes)}`)
      print(json ? JSON.stringify(pulled) : pulled.cid)
    })
}
