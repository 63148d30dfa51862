// Run by itself: looks what the store makes of disks under $WATCHED on which its writer was killed. Prints what is wrong.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { aftermath, type StoreFacts } from './aftermath.js'
import { makeOld } from './trees.js'

const facts = JSON.parse(process.argv[2]!) as StoreFacts
const problems: string[] = []
for (const name of readdirSync(process.env.WATCHED!)) {
  const disk = join(process.env.WATCHED!, name)
  makeOld(disk)
  problems.push(...(await aftermath(disk, facts)).problems.map((line) => `killed at call ${name}: ${line}`))
}
console.log(JSON.stringify(problems))
