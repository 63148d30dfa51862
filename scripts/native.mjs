// node scripts/native.mjs install | build | check: the native engine. `install` builds it where cargo is present and goes on
// without it where not, where building fails, or where MODULE_ASSETS_NATIVE=skip: the package works with ONNX Runtime then, only slower. `check` formats,
// lints and tests it, and says in one line if cargo is missing.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, renameSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../native/', import.meta.url))
const task = process.argv[2]
const cargo = (...args) => spawnSync('cargo', args, { cwd: root, stdio: 'inherit' }).status === 0
const present = existsSync(`${root}Cargo.toml`) && spawnSync('cargo', ['--version'], { stdio: 'ignore' }).status === 0

function build() {
  if (!cargo('build', '--release', '--locked', '--quiet', '-p', 'masset-node')) return false
  const library = { win32: 'masset_node.dll', darwin: 'libmasset_node.dylib' }[process.platform] ?? 'libmasset_node.so'
  // Beside it first: a process may have the old one open.
  copyFileSync(`${root}target/release/${library}`, `${root}masset.node.new`)
  renameSync(`${root}masset.node.new`, `${root}masset.node`)
  return true
}

const tasks = {
  install() {
    if (process.env.MODULE_ASSETS_NATIVE === 'skip') console.log('native: not built, as MODULE_ASSETS_NATIVE says')
    else if (!present) console.log('native: not built, since cargo is not on this machine; models run in ONNX Runtime')
    else if (!build()) console.log('native: not built, see above; models run in ONNX Runtime')
    return true
  },
  build,
  check() {
    if (!present) {
      console.log('skipped: the checks of the native engine, since cargo is not on this machine')
      return true
    }
    return (
      cargo('fmt', '--check') &&
      cargo('clippy', '--locked', '--quiet', '--all-targets', '--', '-D', 'warnings') &&
      cargo('test', '--locked', '--quiet')
    )
  },
}
if (!Object.hasOwn(tasks, task)) {
  console.error('native: give install, build or check')
  process.exit(2)
}
process.exit(tasks[task]() ? 0 : 1)
