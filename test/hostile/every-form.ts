// Run by itself, in the folder $WATCHED: makes every call that is watched in its sync, callback and promise forms while it
// is to fail, and again while it is not. Prints the calls that a fault did not reach, and what the log of the rest says.
import fs, { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import promises, { type FileHandle, mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { arm, disarm, type Kind } from './faults.js'

const disk = process.env.WATCHED!
const at = (name: string) => join(disk, name)
const bytes = Buffer.from('0123456789')

/** The callback form as a promise. */
function called(call: (callback: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => call((error) => (error ? reject(error) : resolve())))
}

mkdirSync(disk, { recursive: true })
writeFileSync(at('file'), bytes)
const fd = openSync(at('file'), 'r+')
const handle: FileHandle = await open(at('file'), 'r+')

const calls: [Kind, string, () => unknown][] = [
  ['open', 'openSync', () => closeSync(openSync(at('file'), 'r'))],
  ['open', 'open', () => called((done) => fs.open(at('file'), 'r', (error, opened) => (error ? done(error) : fs.close(opened, done))))],
  ['open', 'promises.open', async () => (await open(at('file'))).close()],
  ['open', 'readFileSync', () => fs.readFileSync(at('file'))],
  ['open', 'readdir', () => called((done) => fs.readdir(disk, done))],
  ['write', 'writeSync', () => writeSync(fd, bytes, 0, 10, 0)],
  ['write', 'write', () => called((done) => fs.write(fd, bytes, 0, 10, 0, done))],
  ['write', 'handle.write', () => handle.write(bytes, 0, 10, 0)],
  ['write', 'handle.writev', () => handle.writev([bytes, bytes], 0)],
  ['write', 'handle.truncate', () => handle.truncate(5)],
  ['write', 'writeFileSync', () => writeFileSync(at('one'), bytes)],
  ['write', 'writeFile', () => called((done) => fs.writeFile(at('two'), bytes, done))],
  ['write', 'promises.writeFile', () => writeFile(at('three'), bytes)],
  ['write', 'promises.appendFile', () => promises.appendFile(at('three'), bytes)],
  ['write', 'promises.copyFile', () => promises.copyFile(at('one'), at('copy'))],
  ['fsync', 'fsyncSync', () => fsyncSync(fd)],
  ['fsync', 'fdatasync', () => called((done) => fs.fdatasync(fd, done))],
  ['fsync', 'fsync', () => called((done) => fs.fsync(fd, done))],
  ['fsync', 'handle.sync', () => handle.sync()],
  ['fsync', 'handle.datasync', () => handle.datasync()],
  ['rename', 'renameSync', () => renameSync(at('one'), at('uno'))],
  ['rename', 'rename', () => called((done) => fs.rename(at('two'), at('due'), done))],
  ['rename', 'promises.rename', () => rename(at('three'), at('tre'))],
  ['rename', 'promises.link', () => promises.link(at('uno'), at('un'))],
  ['mkdir', 'mkdirSync', () => mkdirSync(at('a/b'), { recursive: true })],
  ['mkdir', 'mkdir', () => called((done) => fs.mkdir(at('a/c'), done))],
  ['mkdir', 'promises.mkdir', () => mkdir(at('d/e/f'), { recursive: true })],
  ['remove', 'rmSync', () => rmSync(at('a/b'), { recursive: true })],
  ['remove', 'rmdir', () => called((done) => fs.rmdir(at('a/c'), done))],
  ['remove', 'promises.rm', () => rm(at('d'), { recursive: true })],
  ['remove', 'promises.unlink', () => promises.unlink(at('copy'))],
]

const escaped: string[] = []
for (const [kind, name, call] of calls) {
  arm({ kinds: [kind], at: 1, deed: 'EIO' })
  const error = await Promise.resolve()
    .then(call)
    .then(
      () => undefined,
      (failure: NodeJS.ErrnoException) => failure.code,
    )
  const { struck } = disarm()
  if (error !== 'EIO' || struck !== 1) escaped.push(`${name} when it is to fail: ${error}`)
  arm({ kinds: [kind], at: 2, deed: 'EIO' })
  await call()
  const { calls: counted } = disarm()
  if (counted !== 1) escaped.push(`${name} is counted ${counted} times`)
}
closeSync(fd)
await handle.close()
console.log(JSON.stringify(escaped))
