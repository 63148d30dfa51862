// Compiles into dist/ from scratch, so that no file of a deleted source is left to be tested or packed.
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync } from 'node:fs'

const root = new URL('..', import.meta.url)
// A package installed as a dependency ships dist/ and no sources: nothing to build there.
if (!existsSync(new URL('tsconfig.json', root))) process.exit(0)
const tsc = new URL('node_modules/typescript/bin/tsc', root)
if (!existsSync(tsc)) {
  console.error('build: Cannot compile: typescript is not installed; run "npm install" without --omit=dev')
  process.exit(1)
}
rmSync(new URL('dist', root), { recursive: true, force: true })
try {
  execFileSync(process.execPath, [tsc.pathname, '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' })
} catch {
  console.error('build: tsc reported errors, see above')
  process.exit(1)
}
const bin = new URL('dist/src/cli/main.js', root)
if (existsSync(bin)) chmodSync(bin, 0o755)
