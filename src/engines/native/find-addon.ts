import { createRequire } from 'node:module'
import type { Addon } from './addon.js'

const require = createRequire(import.meta.url)

/** The package of the addon that was built for a platform; scripts/native.mjs packs it. */
export function prebuiltPackage(platform: string = process.platform, arch: string = process.arch): string {
  const suffix = { linux: '-gnu', win32: '-msvc' }[platform] ?? ''
  return `module-assets-${platform}-${arch}${suffix}`
}

/** The addon, and where it was: the file that was built on this machine, or the package that was built for the platform. */
export interface FoundAddon {
  readonly addon: Addon
  readonly from: string
}

/** Why there is no addon. */
export class NoAddon extends Error {
  constructor(
    message: string,
    /** one is there and can't be loaded */
    readonly broken: boolean,
  ) {
    super(message)
  }
}

/** Looks for the addon where it is built, then for the package. `load` gives what a place exports. */
export function searchAddon(load: (place: string) => unknown = require): FoundAddon | NoAddon {
  const reasons: string[] = []
  let broken = false
  for (const [place, from] of [
    ['../../../../native/masset.node', 'native/masset.node'],
    [prebuiltPackage(), prebuiltPackage()],
  ] as const) {
    try {
      return { addon: load(place) as Addon, from }
    } catch (error) {
      const missing = (error as { code?: string }).code === 'MODULE_NOT_FOUND'
      broken ||= !missing
      reasons.push(`${from}: ${missing ? 'not there' : error instanceof Error ? error.message.split('\n')[0] : error}`)
    }
  }
  return new NoAddon(reasons.join('; '), broken)
}

let found: FoundAddon | NoAddon | undefined

/** The addon, looked for once, or why there is none. */
export function findAddon(): Addon | NoAddon {
  const result = foundAddon()
  return result instanceof NoAddon ? result : result.addon
}

/** The same, and where it was. */
export function foundAddon(): FoundAddon | NoAddon {
  found ??= searchAddon()
  return found
}

let warned = false

/** Says once that an addon is there and can't be loaded: without it models run all the same, only slower. */
export function warnIfBroken(addon: NoAddon): void {
  if (!addon.broken || warned) return
  warned = true
  process.emitWarning(
    `Cannot load the native engine, so models run in ONNX Runtime: ${addon.message}; "masset doctor" says how to add it`,
    {
      code: 'MASSET_NATIVE',
    },
  )
}
