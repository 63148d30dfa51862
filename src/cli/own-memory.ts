import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { fragment, openStore } from '../api/index.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const PROBE = fileURLToPath(new URL('./memory-probe.js', import.meta.url))

/** What a process that runs a model takes beside the weights. */
export interface OwnMemory {
  readonly engine: 'native' | 'onnx'
  readonly bytes: number
}

/** Measured in a fresh process that generates with the demo model, without a tokenizer. @throws AssetError or what ended that process */
export async function measureOwnMemory(): Promise<OwnMemory> {
  const folder = await mkdtemp(join(tmpdir(), 'masset-doctor-'))
  try {
    const checkpoint = join(folder, 'checkpoint')
    for (const file of ['config.json', 'model.safetensors']) await cp(join(DEMO, file), join(checkpoint, file))
    const store = await openStore(join(folder, 'store'))
    const { cid } = await fragment(checkpoint, { store })
    const env = { ...process.env, MODULE_ASSETS_HOME: store.path }
    const { stdout } = await promisify(execFile)(process.execPath, [PROBE, cid], { env })
    return JSON.parse(stdout) as OwnMemory
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
