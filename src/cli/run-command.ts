import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { loadModel, type Model, type ModelStats, type Trace } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import { harmless } from '../core/one-line.js'
import type { Progress } from '../core/progress.js'
import { type EngineChoice, MOST_THREADS } from '../engines/choice.js'
import type { KvCache, Precision } from '../engines/native/exactness.js'
import { cancellable } from './cancel.js'
import { engineOption } from './engine-option.js'
import { numberOption, wholeOption } from './number-option.js'
import { note, print, withBar } from './output.js'
import { FROM } from './pull-command.js'

const GLANCE_MS = 250

interface RunOptions {
  readonly prompt?: string
  readonly message?: string
  readonly ids?: string
  readonly embed?: string[]
  readonly maxTokens?: number
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly seed?: number
  readonly stop?: string[]
  readonly ignoreEos?: boolean
  readonly memory?: string
  readonly map?: boolean
  readonly from?: string[]
  readonly engine: EngineChoice
  readonly threads?: number
  readonly precision?: Precision
  readonly kvCache?: KvCache
  readonly stats?: boolean
  readonly trace?: string
  readonly json?: boolean
}

/** The command that runs a model: generates after a prompt, or embeds sentences. */
export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('generate text with a model asset, or embed sentences')
    .argument('<asset>', 'CID or folder')
    .option('--prompt <text>', 'text to go on from')
    .option('--message <text>', "a user's message, put through the model's chat template")
    .option('--ids <list>', 'token ids to go on from, such as 1,2,3')
    .option('--embed <text...>', 'print the vector of each text')
    .option('--max-tokens <n>', 'at most so many new tokens', wholeOption('max-tokens', 0, 2 ** 31))
    .option(
      '--temperature <t>',
      '0 takes the likeliest token',
      numberOption('temperature', { from: 0, to: 100, wanted: 'a number from 0 to 100' }),
    )
    .option('--top-k <k>', 'draw from the k likeliest', wholeOption('top-k', 1, 2 ** 31))
    .option(
      '--top-p <p>',
      'draw from the likeliest that hold p of the probability',
      numberOption('top-p', { from: Number.MIN_VALUE, to: 1, wanted: 'a number above 0, at most 1' }),
    )
    .option('--seed <n>', 'make the draws repeat', wholeOption('seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER))
    .option('--stop <text...>', 'texts that end the generation')
    .option('--ignore-eos', 'go on after an end-of-sequence token')
    .option('--memory <size>', 'most bytes of weights in memory, such as 512MiB')
    .option('--from <source...>', `where to fetch what is not in the store: ${FROM}`)
    .option('--map', 'map the weights instead: the system decides what of them is in memory')
    .addOption(engineOption())
    .option('--threads <n>', 'threads that compute in the native engine', wholeOption('threads', 1, MOST_THREADS))
    .option('--precision <name>', 'how a prompt is computed natively: exact (the default), or fast where the processor can')
    .option('--kv-cache <type>', 'how keys and values are kept natively: f32 (the default), or f16 in half the memory')
    .option('--trace <file>', 'write what was read, waited for and computed, in the Chrome trace format, which Perfetto opens')
    .option('--stats', 'print what it took, to stderr')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ masset run bafy... --prompt "the 3rd of March 2021"\n  $ masset run folder --ids 1,403,407 --max-tokens 20 --memory 512KiB --stats\n  $ masset run bafy... --embed "a sentence" "another"',
    )
    .action(async (asset: string, options: RunOptions) => {
      const given = [options.prompt, options.message, options.ids, options.embed].filter((value) => value !== undefined)
      if (given.length !== 1)
        throw new AssetError('BAD_USAGE', 'Cannot run without knowing on what: give one of --prompt, --message, --ids or --embed')
      if (options.stop?.includes('')) throw new AssetError('BAD_USAGE', 'Cannot read --stop "": give a text that is not empty')
      const { memory, map, from: sources, engine, threads, precision, kvCache } = options
      const trace = options.trace !== undefined
      // Token ids are printed as they are; only JSON has their text too.
      const tokenizer = options.ids === undefined || options.json === true || options.stop !== undefined
      await cancellable(async (signal) => {
        const how = { memory, map, sources, tokenizer, engine, threads, precision, kvCache, trace, signal }
        await using model = await withBar((onProgress) => loadModel(asset, { ...how, onProgress }))
        try {
          await run(model, options, signal)
          await withBar((onProgress) => model.arrived({ signal, onProgress }))
        } finally {
          // What came before an error, or before somebody had enough, is there to be looked at too.
          if (options.trace !== undefined) await writeTrace(options.trace, await model.trace())
        }
      })
    })
}

async function run(model: Model, options: RunOptions, signal: AbortSignal): Promise<void> {
  if (options.embed) {
    const vectors = (await model.embed(options.embed, { signal })).map((vector) => [...vector])
    if (options.json) print(JSON.stringify(vectors))
    else for (const vector of vectors) print(vector.map((x) => x.toFixed(6)).join(' '))
  } else await generate(model, options, signal)
  if (options.stats) for (const line of statsLines(await model.stats())) note(line)
}

async function writeTrace(path: string, trace: Trace): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(trace)}\n`)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause
    throw new AssetError('IO', `Cannot write the trace to ${path}: ${why}; give --trace a file that can be written`, { cause })
  }
  const { leftOut } = trace.otherData
  if (leftOut > 0) note(`the trace holds the beginning only: ${leftOut} events more were too many`)
}

async function generate(model: Model, options: RunOptions, signal: AbortSignal): Promise<void> {
  const prompt =
    options.ids !== undefined
      ? idsOf(options.ids)
      : options.message !== undefined
        ? [{ role: 'user', content: options.message }]
        : options.prompt!
  const ids: number[] = []
  let text = ''
  const settings = {
    maxTokens: options.maxTokens,
    temperature: options.temperature,
    topK: options.topK,
    topP: options.topP,
    seed: options.seed,
    stop: options.stop,
    ignoreEos: options.ignoreEos,
  }
  const stream = model.generate(prompt, { ...settings, signal })
  // Where weights arrive, the first token may take as long as they do.
  const first = await withBar((onProgress) => whileFetching(model, onProgress, () => stream.next()))
  for (let { done, value } = first; !done; { done, value } = await stream.next()) {
    const { tokenId, text: piece } = value!
    ids.push(tokenId)
    text += piece
    if (!options.json) process.stdout.write(options.ids === undefined ? shown(piece) : `${ids.length > 1 ? ',' : ''}${tokenId}`)
  }
  print(options.json ? JSON.stringify({ cid: model.cid, ids, text }) : '')
}

/** Tells how much of an asset has arrived as long as a call takes. */
async function whileFetching<T>(model: Model, onProgress: (progress: Progress) => void, call: () => Promise<T>): Promise<T> {
  if ((await model.stats()).missingBytes === 0) return call()
  let isDone = false
  const look = async () => {
    const { fetchedBytes, missingBytes } = await model.stats()
    if (!isDone && missingBytes > 0) onProgress({ phase: 'fetch', done: fetchedBytes, total: fetchedBytes + missingBytes })
  }
  const timer = setInterval(() => void look().catch(() => undefined), GLANCE_MS)
  try {
    return await call()
  } finally {
    isDone = true
    clearInterval(timer)
  }
}

/** Generated text as it is; on a terminal without what could steer it. */
function shown(text: string): string {
  return process.stdout.isTTY
    ? text
        .split(/([\n\t])/)
        .map((part, at) => (at % 2 ? part : harmless(part)))
        .join('')
    : text
}

function idsOf(text: string): number[] {
  const ids = text.split(',').map((id) => (/^\s*\d+\s*$/.test(id) ? Number(id) : Number.NaN))
  if (ids.some(Number.isNaN))
    throw new AssetError('BAD_USAGE', `Cannot read --ids ${JSON.stringify(text.slice(0, 60))}: give whole numbers with commas between`)
  return ids
}

/** The counters that matter, in two lines, or three where something was fetched. */
export function statsLines(stats: ModelStats): string[] {
  const {
    budgetBytes,
    tokenizerBytes,
    pinnedBytes,
    streamedBytesPerPass,
    peakResidentBytes,
    bytesRead,
    waitMs,
    computeMs,
    passes,
    tokens,
    fetchedBytes,
    missingBytes,
  } = stats
  return [
    `memory: budget ${formatBytes(budgetBytes)}, pinned ${formatBytes(pinnedBytes)}, streamed per pass ${formatBytes(streamedBytesPerPass)}, peak ${formatBytes(peakResidentBytes)}${tokenizerBytes > 0 ? `; tokenizer about ${formatBytes(tokenizerBytes)}` : ''}`,
    `${tokens} tokens in ${passes} passes: read ${formatBytes(bytesRead)}, computed ${computeMs.toFixed(0)} ms, waited for the disk ${waitMs.toFixed(0)} ms`,
    ...(fetchedBytes > 0 ? [`fetched ${formatBytes(fetchedBytes)}, ${formatBytes(missingBytes)} were not needed yet`] : []),
  ]
}
