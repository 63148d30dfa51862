import type { Command } from 'commander'
import { addLocations, decode, encode, encodeInto, openStore, removeLocations } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import { note, print, table, withProgress } from './output.js'
import { FROM } from './pull-command.js'

/** Commands for folders of any kind, and for where assets may be had: encode, decode, locations. */
export function addFolderCommands(program: Command): void {
  program
    .command('encode')
    .description('print the CID of each file of a folder of any kind, and of the folder itself')
    .argument('<dir>')
    .option('--store', 'put it into the local store, as an asset of kind "function"')
    .option('--name <name>', 'a name kept in the manifest of that asset')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ masset encode my-folder\n  $ masset encode my-folder --store --name tools')
    .action(async (dir: string, { store, name, json }: { store?: boolean; name?: string; json?: boolean }) => {
      if (store) {
        const into = await openStore()
        const cid = await withProgress((call) => encodeInto(into, dir, { ...call, name }))
        print(json ? JSON.stringify({ cid }) : cid)
        return
      }
      if (name !== undefined) throw new AssetError('BAD_USAGE', 'Cannot name what is only hashed: give --store too')
      const { cid, files } = await withProgress((call) => encode(dir, call))
      if (json) print(JSON.stringify({ cid, files: Object.fromEntries(files) }))
      else print([table([...files].map(([path, cid]) => [cid, path])), cid].filter((line) => line !== '').join('\n'))
    })
  program
    .command('decode')
    .description('write the folder or file of a CID, out of the local store or from sources')
    .argument('<cid>')
    .argument('<out>', 'the new folder, or file')
    .option('--from <source...>', FROM)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ masset decode bafy... my-folder\n  $ masset decode bafy... my-folder --from gateway:https://example.org',
    )
    .action(async (cid: string, out: string, { from, json }: { from?: string[]; json?: boolean }) => {
      const done = await withProgress((call) => decode(cid, out, { ...call, from }))
      note(`${done.files} files, ${formatBytes(done.bytes)}`)
      if (json) print(JSON.stringify({ cid, out, ...done }))
    })
  program
    .command('locations')
    .description('list, add or remove the places where an asset may be had, tried in their order when it is fetched')
    .argument('<cid>')
    .argument('[change]', 'add or remove')
    .argument('[uri...]', 'ipfs://CID, https://..., ar://TX, fil://CID, ceramic://STREAM or file:///PATH')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ masset locations bafy...\n  $ masset locations bafy... add https://example.org/model.car')
    .action(async (cid: string, change: string | undefined, uris: string[], { json }: { json?: boolean }) => {
      const found = await changed(cid, change, uris)
      if (json) print(JSON.stringify(found))
      else if (found.length > 0) print(found.join('\n'))
      else note(`no locations of ${cid} are noted`)
    })
}

async function changed(cid: string, change: string | undefined, uris: readonly string[]): Promise<string[]> {
  const store = await openStore()
  if (change === undefined) return store.locations(cid)
  if (!['add', 'remove'].includes(change) || uris.length === 0)
    throw new AssetError('BAD_USAGE', `Cannot change the locations of ${cid}: give "add" or "remove", and the URIs`)
  return change === 'add' ? addLocations(store, cid, uris) : removeLocations(store, cid, uris)
}
