// Run by itself, in the folder $WATCHED: counts the calls of fragmenting its checkpoint `a` into a store.
import { fragment, openStore } from '../../src/api/index.js'
import { arm, disarm, KINDS } from './faults.js'

const disk = process.env.WATCHED!
arm({ kinds: KINDS, at: 1_000_000_000, deed: 'EIO' })
await fragment(`${disk}/a`, { store: await openStore(`${disk}/store`) })
console.log(JSON.stringify(disarm().calls))
