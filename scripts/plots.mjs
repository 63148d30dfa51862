// npm run plots [-- --trace FILE]: draws the pictures of docs/: tokens/s against the memory limit from the newest records of
// bench/record, and with a file that `masset run --trace` wrote, what happened in one token of it.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { limitsPlot } from './plots/limits.mjs'
import { timelinePlot } from './plots/timeline.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { trace } = parseArgs({ options: { trace: { type: 'string' } } }).values
const json = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** The newest record of each bench and dtype. */
function newestRecords() {
  const folder = `${root}bench/record`
  const paths = readdirSync(folder)
    .sort()
    .flatMap((date) => readdirSync(`${folder}/${date}`).map((name) => [name, `${folder}/${date}/${name}`]))
  return [...new Map(paths).values()].map(json)
}

function draw(name, picture) {
  mkdirSync(`${root}docs`, { recursive: true })
  writeFileSync(`${root}docs/${name}`, picture)
  console.log(`docs/${name}`)
}

const records = newestRecords().filter(({ medians, limits }) => medians || limits?.['30%']?.medians)
if (records.some(({ bench }) => bench === 'over-memory')) draw('memory-limit.svg', limitsPlot(records))
else console.log('plots: no record of the bench over-memory')
if (trace !== undefined) draw('token.svg', timelinePlot(json(trace)))
