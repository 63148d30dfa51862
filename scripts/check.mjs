// The part of the gate that runs nothing: types, lint, layers and cycles, docs. Every failing part is shown, then exit 1.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const node = process.execPath
const parts = [
  ['types', node, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit']],
  ['lint', node, ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.']],
  ['layers', node, ['scripts/layers.mjs']],
  ['docs', node, ['scripts/docs.mjs']],
  ['native', node, ['scripts/native.mjs', 'check']],
]
const failed = parts.filter(([, command, args]) => spawnSync(command, args, { cwd: root, stdio: 'inherit' }).status !== 0)
if (failed.length > 0) {
  console.error(`check: failed: ${failed.map(([name]) => name).join(', ')}`)
  process.exit(1)
}
