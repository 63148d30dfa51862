// node scripts/native.mjs install | build | check | pack FOLDER: the native engine. `install` builds it where cargo is present and goes on
// without it where not, where building fails, or where MODULE_ASSETS_NATIVE=skip: the package works with ONNX Runtime then, only slower. `check` formats,
// lints and tests it, and says in one line if cargo is missing. `pack` makes the tarballs of a release: one of the package of
// each platform whose addon lies in native/npm/<platform>/ (that of this machine is put there), and the project's own, which
// lists those packages as optional dependencies. They can't be listed in package.json itself: while one is not published,
// npm install leaves it out of the lock file, and npm ci then refuses the two.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../native/', import.meta.url))
const task = process.argv[2]
const cargo = (...args) => spawnSync('cargo', args, { cwd: root, stdio: 'inherit' }).status === 0
const platform = `${process.platform}-${process.arch}${{ linux: '-gnu', win32: '-msvc' }[process.platform] ?? ''}`
const present = existsSync(`${root}Cargo.toml`) && spawnSync('cargo', ['--version'], { stdio: 'ignore' }).status === 0

function build() {
  if (!cargo('build', '--release', '--locked', '--quiet', '-p', 'masset-node')) return false
  const library = { win32: 'masset_node.dll', darwin: 'libmasset_node.dylib' }[process.platform] ?? 'libmasset_node.so'
  // Beside it first: a process may have the old one open.
  copyFileSync(`${root}target/release/${library}`, `${root}masset.node.new`)
  renameSync(`${root}masset.node.new`, `${root}masset.node`)
  return true
}

function isPrebuilt() {
  try {
    return Boolean(createRequire(import.meta.url).resolve(`module-assets-${platform}`))
  } catch {
    return false
  }
}

/** Packs a folder into a tarball in `out`; gives its path. */
function packFolder(folder, out) {
  const args = ['pack', '--ignore-scripts', '--json', '--loglevel=error', '--pack-destination', out]
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8', shell: process.platform === 'win32' })
  if (status !== 0) throw new Error(`Cannot pack ${folder}: ${stderr}`)
  const packed = JSON.parse(stdout)
  const [{ filename }] = Array.isArray(packed) ? packed : Object.values(packed)
  return join(out, filename)
}

function pack(out) {
  const packages = `${root}npm/`
  if (existsSync(`${root}masset.node`) && existsSync(`${packages}${platform}`))
    copyFileSync(`${root}masset.node`, `${packages}${platform}/masset.node`)
  const built = readdirSync(packages).filter((name) => existsSync(`${packages}${name}/masset.node`))
  mkdirSync(out, { recursive: true })
  for (const name of built) console.log(packFolder(`${packages}${name}`, out))
  const staging = mkdtempSync(join(tmpdir(), 'masset-pack-'))
  try {
    const plain = packFolder(`${root}..`, staging)
    if (spawnSync('tar', ['-xzf', plain, '-C', staging], { stdio: 'inherit' }).status !== 0) throw new Error(`Cannot unpack ${plain}`)
    const about = join(staging, 'package', 'package.json')
    const project = JSON.parse(readFileSync(about, 'utf8'))
    for (const name of built) project.optionalDependencies[`module-assets-${name}`] = project.version
    writeFileSync(about, `${JSON.stringify(project, undefined, 2)}\n`)
    console.log(packFolder(join(staging, 'package'), out))
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
  return true
}

const tasks = {
  install() {
    if (process.env.MODULE_ASSETS_NATIVE === 'skip') console.log('native: not built, as MODULE_ASSETS_NATIVE says')
    else if (!present && isPrebuilt()) console.log(`native: module-assets-${platform} is there, built for this platform`)
    else if (!present) console.log('native: not built, since cargo is not on this machine; models run in ONNX Runtime')
    else if (!build()) console.log('native: not built, see above; models run in ONNX Runtime')
    return true
  },
  build,
  pack: () => pack(resolve(process.argv[3] ?? '.')),
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
  console.error('native: give install, build, check or pack FOLDER')
  process.exit(2)
}
process.exit(tasks[task]() ? 0 : 1)
