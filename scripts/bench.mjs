// npm run bench [-- NAME ... --record]: runs the benches of dist/bench, one file per question; each prints one JSON line
// and with --record keeps it under bench/record/DATE.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../dist/bench', import.meta.url))
const PARTS = ['bounds', 'measure', 'synthetic', 'raw-worker', 'limited']
const all = readdirSync(folder)
  .filter((name) => name.endsWith('.js') && !PARTS.includes(name.replace('.js', '')))
  .map((name) => name.replace('.js', ''))
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('-'))
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('-'))
const unknown = wanted.filter((name) => !all.includes(name))
if (unknown.length > 0) {
  console.error(`bench: no such bench: ${unknown.join(', ')}; there are: ${all.join(', ')}`)
  process.exit(2)
}
for (const name of wanted.length > 0 ? wanted : all) {
  const { status } = spawnSync(process.execPath, ['--expose-gc', `${folder}/${name}.js`, ...flags], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
