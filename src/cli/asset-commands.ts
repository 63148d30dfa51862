import { type Command, Option } from 'commander'
import {
  type Comparison,
  compare,
  type FragmentResult,
  fragment,
  type Inspection,
  inspect,
  openStore,
  repair,
  seal,
  verify,
  type WeightDtype,
} from '../api/index.js'
import { WEIGHT_DTYPES } from '../asset/convert/plan.js'
import { formatBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import { harmless } from '../core/one-line.js'
import { note, print, table, withProgress } from './output.js'
import { amount, FROM } from './pull-command.js'

interface FragmentFlags {
  readonly out?: string
  readonly store?: boolean
  readonly dtype: WeightDtype
  readonly name?: string
  readonly link?: boolean
  readonly json?: boolean
}

/** Commands that make, look at and check assets: fragment, seal, inspect, verify. */
export function addAssetCommands(program: Command): void {
  program
    .command('fragment')
    .description('split a checkpoint by module into a content-addressed asset')
    .argument(
      '<checkpoint>',
      'folder with model.safetensors or pytorch_model.bin or shards of them, model.onnx or model.json; a file: .safetensors, .gguf, .pt, .pth, .bin, .onnx; or hf:OWNER/NAME[@REVISION]',
    )
    .option('--out <folder>', 'write the asset as a new folder')
    .option('--store', 'write the asset into the local store')
    .addOption(new Option('--dtype <dtype>', 'how weights are stored').choices(WEIGHT_DTYPES).default('keep'))
    .option('--link', 'leave weights in the files where they are, which must stay there (only with --store)')
    .option('--name <name>', 'a name kept in the manifest')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ masset fragment models/demo --store\n  $ masset fragment models/demo --out demo-asset\n  $ masset fragment models/demo --out demo-q8 --dtype q8\n  $ masset fragment weights.pt --store\n  $ masset fragment hf:HuggingFaceTB/SmolLM2-135M --store',
    )
    .action(async (checkpoint: string, options: FragmentFlags) => {
      if ((options.out === undefined) === !options.store)
        throw new AssetError('BAD_USAGE', 'Cannot fragment without knowing where to: give either --store or --out FOLDER')
      const store = options.store ? await openStore() : undefined
      const { out, dtype, name, link } = options
      const result = await withProgress((call) => fragment(checkpoint, { ...call, store, out, dtype, name, link }))
      report(result, options.json)
    })
  program
    .command('seal')
    .description('make an asset, in place, of a folder of canonical fragments under modules/ plus config files')
    .argument('<folder>')
    .option('--name <name>', 'a name kept in the manifest')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset seal my-fragments')
    .action(async (folder: string, options: { name?: string; json?: boolean }) => {
      const result = await withProgress((call) => seal(folder, { ...call, name: options.name }))
      report(result, options.json)
    })
  program
    .command('inspect')
    .description('print the module tree of an asset, or what two assets share')
    .argument('<asset>', 'CID or folder')
    .argument('[other]', 'a second asset to compare with')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ masset inspect demo-asset\n  $ masset inspect bafy... bafy...')
    .action(async (asset: string, other: string | undefined, options: { json?: boolean }) => {
      if (other !== undefined) {
        const comparison = await compare(asset, other)
        print(options.json ? JSON.stringify(comparison) : comparisonText(comparison))
      } else {
        const found = await inspect(asset)
        print(options.json ? JSON.stringify(found) : inspectionText(found))
      }
    })
  program
    .command('verify')
    .description('read every byte of an asset and compare it with its CIDs')
    .argument('<asset>', 'CID or folder')
    .option('--repair', 'replace what is damaged in the local store; only damaged leaves are fetched')
    .option('--from <source...>', FROM)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  $ masset verify demo-asset\n  $ masset verify bafy... --repair --from kubo:http://127.0.0.1:5001')
    .action(async (asset: string, options: { repair?: boolean; from?: string[]; json?: boolean }) => {
      if (options.repair) return repairAsset(asset, options)
      if (options.from) throw new AssetError('BAD_USAGE', 'Cannot verify from a source: give --repair with --from, or neither')
      const result = await withProgress((call) => verify(asset, call))
      if (options.json) print(JSON.stringify(result))
      else if (result.damage.length === 0) print(`${result.cid} is sound: ${result.files} files, ${formatBytes(result.bytes)}`)
      for (const line of result.damage) note(`masset: ${line}`)
      if (result.damage.length > 0) process.exitCode = 1
    })
}

async function repairAsset(cid: string, { from, json }: { from?: string[]; json?: boolean }): Promise<void> {
  const result = await withProgress((call) => repair(cid, { ...call, from }))
  for (const line of result.repaired) note(`repaired ${line}`)
  if (json) print(JSON.stringify(result))
  else print(`${result.cid} is sound: ${result.files} files, ${formatBytes(result.bytes)}; fetched ${amount(result.fetched)}`)
}

function report(result: FragmentResult, json: boolean | undefined): void {
  const fetched = result.fetched === undefined ? '' : `, ${formatBytes(result.fetched)} fetched`
  note(`${result.files} files, ${formatBytes(result.bytes)}${fetched}`)
  const { linked, copied } = result
  if (linked) note(`linked ${linked.files} fragments (${formatBytes(linked.bytes)}): keep the files that they are linked to`)
  if (copied && copied.files > 0)
    note(`copied ${copied.files} fragments (${formatBytes(copied.bytes)}): converted, fetched, or not in one piece in a file`)
  if (result.note !== undefined) note(result.note)
  print(json ? JSON.stringify(result) : result.cid)
}

function inspectionText({ cid, kind, name, size, parameters, modules, files }: Inspection): string {
  const rows = modules.map((module) => [
    module.key || '(root)',
    module.parameters,
    module.dtypes.join(','),
    formatBytes(module.size),
    module.cid,
  ])
  return [
    `${kind}${name === undefined ? '' : ` ${harmless(name)}`}  ${cid}`,
    `${parameters} parameters in ${modules.length} modules, ${formatBytes(size)}`,
    '',
    table([['module', 'parameters', 'dtype', 'bytes', 'cid'], ...rows]),
    '',
    table(files.map((file) => [file.path, formatBytes(file.size), file.cid])),
  ].join('\n')
}

function comparisonText({ a, b, shared, sharedBytes, onlyA, onlyB, changed }: Comparison): string {
  const section = (title: string, paths: readonly string[]) =>
    paths.length === 0 ? [] : [`${title}:`, ...paths.map((path) => `  ${harmless(path)}`)]
  return [
    `A ${a}`,
    `B ${b}`,
    `shared by content: ${shared} files, ${formatBytes(sharedBytes)}`,
    ...section('changed', changed),
    ...section('only in A', onlyA),
    ...section('only in B', onlyB),
  ].join('\n')
}
