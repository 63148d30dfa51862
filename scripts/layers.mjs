// The way of the data is one direction: a folder may import only from folders before it in this list (DESIGN of the layers
// is in ARCHITECTURE.md), and no two files may import each other in a circle. Exits 1 with one line per violation.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const LAYERS = [
  'src/core',
  'src/graph',
  'models',
  'src/sources',
  'src/asset',
  'src/store',
  'src/transport',
  'src/plan',
  'src/residency',
  'src/engines',
  'src/text',
  'src/executor',
  'src/api',
  'src/server',
  'src/cli',
  'test',
  'bench',
]

const files = ['src', 'models', 'bench', 'test'].flatMap((top) =>
  readdirSync(join(root, top), { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && e.name.endsWith('.ts'))
    .map((e) => relative(root, join(e.parentPath ?? e.path, e.name))),
)

const layerOf = (file) => LAYERS.findIndex((layer) => file.startsWith(`${layer}/`))

/** Relative imports of a file, type-only ones too: a type is knowledge of the other layer as well. */
function importsOf(file) {
  const text = readFileSync(join(root, file), 'utf8')
  const found = [...text.matchAll(/(?:from|import\(|import)\s*'(\.[^']+)'/g)].map((m) => m[1])
  return found.map((target) => normalize(join(dirname(file), target)).replace(/\.js$/, '.ts'))
}

const graph = new Map(files.map((file) => [file, importsOf(file)]))
const problems = []
for (const [file, targets] of graph) {
  if (layerOf(file) < 0) problems.push(`${file}: its folder is not in the list of layers`)
  for (const target of targets) {
    if (layerOf(target) > layerOf(file))
      problems.push(`${file} imports ${target}: ${LAYERS[layerOf(target)]} comes after ${LAYERS[layerOf(file)]}`)
  }
}

const state = new Map()
function visit(file, trail) {
  if (state.get(file) === 'done') return
  if (state.get(file) === 'open') {
    problems.push(`import cycle: ${[...trail.slice(trail.indexOf(file)), file].join(' -> ')}`)
    return
  }
  state.set(file, 'open')
  for (const target of graph.get(file) ?? []) visit(target, [...trail, file])
  state.set(file, 'done')
}
for (const file of files) visit(file, [])

for (const problem of problems) console.error(`layers: ${problem}`)
if (problems.length > 0) process.exit(1)
console.log(`layers: ${files.length} files, one direction, no cycles`)
