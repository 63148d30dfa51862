// npm run bench [-- NAME ... --dtype bf16,q8,q4 --json --record]: runs the benches of dist/bench, one file per question; each prints its
// medians, with --json a line of JSON with all rounds, and with --record keeps that under bench/record/DATE.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const folder = fileURLToPath(new URL('../dist/bench', import.meta.url))
// What a bench reports is named as its file is; the others are parts of benches.
const isBench = (name) => readFileSync(`${folder}/${name}`, 'utf8').includes(`report('${name.replace('.js', '')}'`)
const all = readdirSync(folder)
  .filter((name) => name.endsWith('.js') && isBench(name))
  .map((name) => name.replace('.js', ''))
const { positionals: wanted, values } = parseArgs({
  allowPositionals: true,
  options: { dtype: { type: 'string' }, json: { type: 'boolean' }, record: { type: 'boolean' }, small: { type: 'boolean' } },
})
const unknown = wanted.filter((name) => !all.includes(name))
if (unknown.length > 0) {
  console.error(`bench: no such bench: ${unknown.join(', ')}; there are: ${all.join(', ')}`)
  process.exit(2)
}
const flags = Object.entries(values).map(([name, value]) => (value === true ? `--${name}` : `--${name}=${value}`))
for (const name of wanted.length > 0 ? wanted : all) {
  const { status } = spawnSync(process.execPath, ['--expose-gc', `${folder}/${name}.js`, ...flags], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
