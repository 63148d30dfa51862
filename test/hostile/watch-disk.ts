// Loaded with `node --import` into a process, and by that into its worker threads: calls of `node:fs` on what lies under
// $WATCHED are counted, failed and logged, in their sync, callback and promise forms. Nothing is really synced: no test
// loses power.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { devNull } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { arm, type Fault, faultAt } from './faults.js'
import { fileCalls, forget, pathCalls, unwatched, type WatchedCall, watchedFile, watchedPath } from './watched-calls.js'

type Call = (this: unknown, ...args: unknown[]) => unknown
type Calls = Record<string, Call>
type Callback = (error: unknown, ...results: unknown[]) => void
/** What a call is, or undefined where it doesn't concern the watched folder. */
type Describe = (self: unknown, args: unknown[]) => WatchedCall | undefined

function inSync(original: Call, describe: Describe): Call {
  return function (...args) {
    const call = describe(this, args)
    if (!call) return original.apply(this, args)
    const fault = faultAt(call.kind, call.path)
    if (fault) {
      if (call.half) unwatched(() => original.apply(this, call.half!))
      if (call.half) unwatched(() => call.done?.())
      throw fault
    }
    const result = call.skip ? undefined : unwatched(() => original.apply(this, args))
    unwatched(() => call.done?.(result))
    return result
  }
}

function inPromises(original: Call, describe: Describe): Call {
  return async function (...args) {
    const call = describe(this, args)
    if (!call) return original.apply(this, args)
    const fault = faultAt(call.kind, call.path)
    if (fault) {
      if (call.half) await unwatched(() => original.apply(this, call.half!))
      if (call.half) unwatched(() => call.done?.())
      throw fault
    }
    const result = call.skip ? undefined : await unwatched(() => original.apply(this, args))
    unwatched(() => call.done?.(result))
    return result
  }
}

function inCallbacks(original: Call, describe: Describe): Call {
  return function (...args) {
    const callback = args.at(-1) as Callback
    const call = typeof callback === 'function' ? describe(this, args.slice(0, -1)) : undefined
    if (!call) return original.apply(this, args)
    const fault = faultAt(call.kind, call.path)
    const done: Callback = (error, ...results) => {
      if (!error) unwatched(() => call.done?.(results[0]))
      callback(error, ...results)
    }
    if (fault && call.half) {
      const half: Callback = () => {
        unwatched(() => call.done?.())
        callback(fault)
      }
      return unwatched(() => original.call(this, ...call.half!, half))
    }
    if (fault || call.skip) return void setImmediate(() => (fault ? callback(fault) : done(null)))
    return unwatched(() => original.call(this, ...args.slice(0, -1), done))
  }
}

const onPath =
  (name: string): Describe =>
  (_, args) => {
    const path = watchedPath(args[0])
    return path === undefined ? undefined : pathCalls[name]!(args, path)
  }
const onDescriptor =
  (name: string): Describe =>
  (_, [fd, ...args]) => {
    const file = watchedFile(fd)
    const call = file && fileCalls[name]!(args, file)
    return call?.half ? { ...call, half: [fd, ...call.half] } : call
  }
const onHandle =
  (name: string): Describe =>
  (self, args) => {
    const file = watchedFile((self as fs.promises.FileHandle).fd)
    return file && fileCalls[name]!(args, file)
  }

const calls = fs as unknown as Calls
const promises = fs.promises as unknown as Calls

// `rm` keeps the functions that it is made of when it is first called: these must not be the watched ones.
await fs.promises.rm(`${devNull}.none`, { recursive: true, force: true })
fs.rmSync(`${devNull}.none`, { recursive: true, force: true })

for (const name of Object.keys(pathCalls)) {
  calls[`${name}Sync`] = inSync(calls[`${name}Sync`]!, onPath(name))
  calls[name] = inCallbacks(calls[name]!, onPath(name))
  promises[name] = inPromises(promises[name]!, onPath(name))
}
const DESCRIPTOR_NAMES: Record<string, string> = {
  write: 'write',
  writev: 'writev',
  truncate: 'ftruncate',
  sync: 'fsync',
  datasync: 'fdatasync',
}
for (const [name, other] of Object.entries(DESCRIPTOR_NAMES)) {
  calls[`${other}Sync`] = inSync(calls[`${other}Sync`]!, onDescriptor(name))
  calls[other] = inCallbacks(calls[other]!, onDescriptor(name))
}
const probe = await fs.promises.open(devNull, 'r')
const handles = Object.getPrototypeOf(probe) as Calls
await probe.close()
for (const name of Object.keys(fileCalls)) handles[name] = inPromises(handles[name]!, onHandle(name))

function forgetting(original: Call, fdOf: (self: unknown, args: unknown[]) => unknown): Call {
  return function (...args) {
    forget(fdOf(this, args))
    return original.apply(this, args)
  }
}
calls.close = forgetting(calls.close!, (_, [fd]) => fd)
calls.closeSync = forgetting(calls.closeSync!, (_, [fd]) => fd)
handles.close = forgetting(handles.close!, (self) => (self as fs.promises.FileHandle).fd)

// Calls that open, write and close at once, made of the watched ones.
for (const [name, flag] of [
  ['writeFile', 'w'],
  ['appendFile', 'a'],
] as const) {
  const original = { sync: calls[`${name}Sync`]!, callback: calls[name]!, promise: promises[name]! }
  const flagOf = (options: unknown) => (options as { flag?: string } | undefined)?.flag ?? flag
  promises[name] = async (path, data, options) => {
    if (watchedPath(path) === undefined) return original.promise(path, data, options)
    const handle = await fs.promises.open(path as string, flagOf(options))
    try {
      await handle.writeFile(data as Uint8Array)
    } finally {
      await handle.close()
    }
  }
  calls[name] = (path, data, ...rest) => {
    if (watchedPath(path) === undefined) return original.callback(path, data, ...rest)
    const callback = rest.at(-1) as Callback
    ;(promises[name]!(path, data, rest.length > 1 ? rest[0] : undefined) as Promise<void>).then(() => callback(null), callback)
    return undefined
  }
  calls[`${name}Sync`] = (path, data, options) => {
    if (watchedPath(path) === undefined) return original.sync(path, data, options)
    const fd = fs.openSync(path as string, flagOf(options))
    try {
      const bytes = Buffer.from(data as Uint8Array)
      for (let at = 0; at < bytes.byteLength; ) at += fs.writeSync(fd, bytes, at, bytes.byteLength - at)
    } finally {
      fs.closeSync(fd)
    }
    return undefined
  }
}
syncBuiltinESMExports()

if (isMainThread && process.env.FAULT !== undefined) arm(JSON.parse(process.env.FAULT) as Fault)
