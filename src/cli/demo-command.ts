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
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ masset demo')
    .action(({ json = false }: { json?: boolean }) => cancellable((signal) => demo(json, signal)))
}

async function demo(json: boolean, signal: AbortSignal): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'masset-demo-'))
  const say = (text: string) => {
    if (!json) process.stdout.write(text)
  }
  try {
    const store = await openStore(home)
    const { cid, files, bytes } = await fragment(DEMO, { store, signal })
    say(`fragmented models/demo: ${files} files, ${formatBytes(bytes)}\n${cid}\n\n`)
    const { modules } = await inspect(cid, { store })
    const shown = modules.filter(({ key }) => !/layers\.[1-9]/.test(key))
    say(`${table(shown.map((module) => [module.key, module.parameters, module.dtypes.join(), formatBytes(module.size), module.cid]))}\n`)
    say(`... and ${modules.length - shown.length} more modules like those of layer 0\n\n`)
    const { weightBytes } = await plan(cid, { store })
    const memory = Math.floor(weightBytes * 0.4)
    await using model = await loadModel(cid, { store, memory, signal })
    say(`loaded by CID: ${formatBytes(weightBytes)} of weights, ${formatBytes(memory)} of memory for them\n\n`)
    const { sample } = JSON.parse(await readFile(join(DEMO, 'dates.json'), 'utf8')) as { sample: { input: string }[] }
    const answers: { input: string; text: string }[] = []
    for (const input of ['the 3rd of March 2021', ...sample.slice(0, 4).map((date) => date.input)]) {
      say(`${input}  ->  `)
      let answer = ''
      for await (const { text } of model.generate(input, { signal })) {
        say(text)
        answer += text
      }
      say('\n')
      answers.push({ input, text: answer })
    }
    const stats = await model.stats()
    if (json) print(JSON.stringify({ cid, files, bytes, weightBytes, memory, answers, stats }))
    else for (const line of ['', ...statsLines(stats)]) note(line)
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}
