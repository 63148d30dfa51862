import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * Where a store keeps what. A file is one contiguous file under its CID with its sums beside it; a folder's dag-pb
 * blocks are nodes; an entry under `assets` says that all that this root needs is there, one under `arriving` that some
 * of it may be, and that what is there is to be kept; a file lies under `partial` until all of it has arrived.
 */
export class StoreLayout {
  constructor(readonly root: string) {}

  get assets(): string {
    return join(this.root, 'assets')
  }

  get arriving(): string {
    return join(this.root, 'arriving')
  }

  get partial(): string {
    return join(this.root, 'partial')
  }

  /** where assets are made of which not all is at hand: what is there stays until they are done */
  get unfinished(): string {
    return join(this.root, 'unfinished')
  }

  /** where assets may be had, by CID; also of some that are not here */
  get locations(): string {
    return join(this.root, 'locations')
  }

  get pins(): string {
    return join(this.root, 'pins')
  }

  get staging(): string {
    return join(this.root, 'tmp')
  }

  /** where running processes mark the assets that they use, as `CID-anything` */
  get uses(): string {
    return join(this.root, 'uses')
  }

  get files(): string {
    return join(this.root, 'files')
  }

  get nodes(): string {
    return join(this.root, 'nodes')
  }

  file(cid: string): string {
    return join(this.files, cid.slice(-2), cid)
  }

  sidecar(cid: string): string {
    return `${this.file(cid)}.sums`
  }

  /** says where the file is, where it has not been copied */
  link(cid: string): string {
    return `${this.file(cid)}.link`
  }

  node(cid: string): string {
    return join(this.nodes, cid.slice(-2), cid)
  }

  asset(cid: string): string {
    return join(this.assets, cid)
  }

  arrival(cid: string): string {
    return join(this.arriving, cid)
  }

  /** the folder in which `CID.anything` is a file that arrives, and `CID.anything.leaves` what of it is there */
  partialFan(cid: string): string {
    return join(this.partial, cid.slice(-2))
  }

  locationsOf(cid: string): string {
    return join(this.locations, cid)
  }

  pin(cid: string): string {
    return join(this.pins, cid)
  }
}

/** The default store: `$MODULE_ASSETS_HOME`, else the platform's folder for application data. */
export function defaultStorePath(env: NodeJS.ProcessEnv = process.env): string {
  if (env.MODULE_ASSETS_HOME) return env.MODULE_ASSETS_HOME
  if (process.platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'module-assets')
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'module-assets')
  return join(env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'module-assets')
}
