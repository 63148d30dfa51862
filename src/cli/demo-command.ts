import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { fragment, inspect, openStore, verify } from '../api/index.js'
import { formatBytes } from '../core/bytes.js'
import { note, print, table } from './output.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))

/** The main job on the demo model, in a store that is removed afterwards. */
export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('fragment the demo model into a throw-away store, show its tree, verify it')
    .action(async () => {
      const home = await mkdtemp(join(tmpdir(), 'masset-demo-'))
      try {
        const store = await openStore(home)
        const { cid, files, bytes } = await fragment(DEMO, { store })
        note(`fragmented models/demo: ${files} files, ${formatBytes(bytes)}`)
        print(cid)
        const { modules } = await inspect(cid, { store })
        print(table(modules.map((module) => [module.key, module.parameters, module.dtypes.join(), formatBytes(module.size), module.cid])))
        const { damage } = await verify(cid, { store })
        note(damage.length === 0 ? 'verified: every byte is what its CID says' : damage.join('\n'))
      } finally {
        await rm(home, { recursive: true, force: true })
      }
    })
}
