// Run by itself: rebuilds what a crash at any moment of adding, pinning and removing an asset could leave, in a folder
// under $WATCHED, and looks what the store makes of it. Prints what is wrong, one line each.
import { type Aftermath, aftermath, type StoreFacts } from './aftermath.js'
import { type CrashState, lookAtCrashes, type Recorded } from './crash-points.js'

/** What it is told. */
export interface StoreCrashes extends Recorded, StoreFacts {
  readonly choices: number
}

const task = JSON.parse(process.argv[2]!) as StoreCrashes

/** What had been acknowledged before the crash and does not hold after it. */
function broken({ begun, done }: CrashState, { pinned }: Aftermath): string[] {
  const lines: string[] = []
  const [there, pin] = [pinned.has(task.cid), pinned.get(task.cid)]
  if (done.has('add') && !begun.has('remove') && !there) lines.push('the asset was added and is gone')
  if (done.has('remove') && there) lines.push('the asset was removed and is back')
  if (done.has('pin') && !begun.has('unpin') && pin === false) lines.push('the asset was pinned and is not')
  if (done.has('unpin') && !begun.has('remove') && pin === true) lines.push('the asset was unpinned and is pinned')
  return lines
}

const report = await lookAtCrashes(task, task.choices, async (state, folder) => {
  const found = await aftermath(folder, task)
  return [...found.problems, ...broken(state, found)]
})
console.log(JSON.stringify(report))
