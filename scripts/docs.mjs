// Docs are part of the gate: every exported name of src/api has a docstring where it is declared, and so has every public
// method of an exported class; links between the Markdown files lead somewhere, those of the README into the package;
// every `masset` command that they show exists. Exits 1 with one line per problem.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path) => readFileSync(join(root, path), 'utf8')
const problems = []

for (const [, names, from] of read('src/api/index.ts').matchAll(/export (?:type )?\{([^}]+)\} from '([^']+)'/g)) {
  if (!from.startsWith('.')) continue
  const path = join('src/api', from.replace(/\.js$/, '.ts'))
  const text = read(path)
  for (const name of names.split(',').map((part) => part.trim().replace(/^type /, ''))) {
    if (!name) continue
    const declaration = new RegExp(`\\*/\\nexport (?:async )?(?:abstract )?(?:function\\*?|class|interface|type|const) ${name}\\b`)
    if (!declaration.test(text)) problems.push(`${path}: ${name} is public and has no docstring`)
    for (const method of undescribed(text, name)) problems.push(`${path}: ${name}.${method} is public and has no docstring`)
  }
}

/** Public methods and getters of a class that no docstring stands before; what the language calls itself needs none. */
function undescribed(text, name) {
  const body = text.match(new RegExp(`^export class ${name}\\b[^]*?^}`, 'm'))?.[0] ?? ''
  const methods = [...body.matchAll(/^(.*)\n {2}(?!private|constructor|\[|\}|\/|\*| )(?:static |async |get |\*)*(\w+)(?:<.*>)?\(/gm)]
  return methods.filter(([, before]) => !before.trimEnd().endsWith('*/')).map(([, , method]) => method)
}

const commands = new Set(
  readdirSync(join(root, 'src/cli')).flatMap((file) => [...read(join('src/cli', file)).matchAll(/\.command\('([a-z]+)/g)].map((m) => m[1])),
)
const { files } = JSON.parse(read('package.json'))
// npm packs these whatever the list says.
const packed = (target) => ['README.md', 'LICENSE', ...files].some((path) => target === path || target.startsWith(`${path}/`))
for (const page of readdirSync(root).filter((name) => name.endsWith('.md'))) {
  const text = read(page)
  for (const [, target] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
    if (!/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(page), target)))
      problems.push(`${page}: the link to ${target} leads nowhere`)
    else if (page === 'README.md' && !/^[a-z]+:/.test(target) && !packed(target))
      problems.push(`${page}: the link to ${target} leads to what is not packed`)
  }
  for (const [, command] of text.matchAll(/^\$?\s*(?:npx )?masset ([a-z]+)/gm)) {
    if (!commands.has(command)) problems.push(`${page}: there is no command "masset ${command}"`)
  }
}

for (const problem of problems) console.error(`docs: ${problem}`)
if (problems.length > 0) process.exit(1)
console.log('docs: public names described, links and commands true')
