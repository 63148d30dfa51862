import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'

const SCRIPT = fileURLToPath(new URL('../../../scripts/check-transformers.py', import.meta.url))
const python = process.env.MASSET_PYTHON ?? 'python3'

function hasTransformers(): boolean {
  try {
    execFileSync(python, ['-c', 'import torch, transformers, safetensors'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn('skipped: torch and transformers are not installed for python3 (MASSET_PYTHON names another)')
    return false
  }
}

describe.runIf(sharedModel('tiny-llama') && hasTransformers())('an asset folder opens in transformers', () => {
  it.each(['tiny-llama', 'tiny-qwen2', 'tiny-gpt2', 'tiny-bert'])('%s, with the golden results', { timeout: 300_000 }, async (name) => {
    await using folder = await temporary()
    const source = sharedModel(name)!
    await fragment(source, { out: `${folder.path}/asset` })
    const worst = execFileSync(python, [SCRIPT, `${folder.path}/asset`, `${source}/golden.json`], {
      encoding: 'utf8',
      env: { ...process.env, HF_HUB_OFFLINE: '1' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    expect(Number(worst)).toBeLessThan(1e-4)
  })
})
