import { describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'
import { hasTransformers, runScript } from './python.js'

const NAMES = [
  'tiny-llama',
  'tiny-qwen2',
  'tiny-gpt2',
  'tiny-bert',
  'tiny-smollm3',
  'tiny-phi3',
  'tiny-gemma2',
  'tiny-gemma3',
  'tiny-gpt-neox',
  'tiny-roberta',
  'tiny-distilbert',
  'tiny-t5',
]

describe.runIf(sharedModel('tiny-llama') && hasTransformers())('an asset folder opens in transformers', () => {
  it.each(NAMES)('%s, with the golden results', { timeout: 300_000 }, async (name) => {
    await using folder = await temporary()
    const source = sharedModel(name)!
    await fragment(source, { out: `${folder.path}/asset` })
    const worst = runScript('check-transformers.py', [`${folder.path}/asset`, `${source}/golden.json`])
    expect(Number(worst)).toBeLessThan(1e-4)
  })
})
