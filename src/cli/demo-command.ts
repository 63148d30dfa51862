import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { fragment, inspect, loadModel, openStore, plan } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import { cancellable } from './cancel.js'
import { note, print, table } from './output.js'
import { statsLines } from './run-command.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))

/** The main job on the demo model, in a store that is removed afterwards. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('fragment the demo model, load it by CID under a budget smaller than the model, rewrite some dates')
    .action(() => cancellable(demo))
}

async function demo(signal: AbortSignal): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'masset-demo-'))
  try {
    const store = await openStore(home)
    const { cid, files, bytes } = await fragment(DEMO, { store, signal })
    print(`fragmented models/demo: ${files} files, ${formatBytes(bytes)}\n${cid}\n`)
    const { modules } = await inspect(cid, { store })
    const shown = modules.filter(({ key }) => !/layers\.[1-9]/.test(key))
    print(table(shown.map((module) => [module.key, module.parameters, module.dtypes.join(), formatBytes(module.size), module.cid])))
    print(`... and ${modules.length - shown.length} more modules like those of layer 0\n`)
    const { weightBytes } = await plan(cid, { store })
    const memory = Math.floor(weightBytes * 0.4)
    await using model = await loadModel(cid, { store, memory, signal })
    print(`loaded by CID: ${formatBytes(weightBytes)} of weights, ${formatBytes(memory)} of memory for them\n`)
    const { sample } = JSON.parse(await readFile(join(DEMO, 'dates.json'), 'utf8')) as { sample: { input: string }[] }
    for (const phrase of ['the 3rd of March 2021', ...sample.slice(0, 4).map(({ input }) => input)]) {
      process.stdout.write(`${phrase}  ->  `)
      for await (const { text } of model.generate(phrase, { signal })) process.stdout.write(text)
      print('')
    }
    note('')
    for (const line of statsLines(await model.stats())) note(line)
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}
