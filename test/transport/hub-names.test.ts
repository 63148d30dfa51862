import { describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { parseHubReference } from '../../src/transport/hub/reference.js'

describe('the name of a model of the hub', () => {
  it.each([
    ['hf:owner/name', { repo: 'owner/name', revision: 'main', file: undefined }],
    ['hf:gpt2', { repo: 'gpt2', revision: 'main', file: undefined }],
    ['hf:owner/name@refs/pr/1', { repo: 'owner/name', revision: 'refs/pr/1', file: undefined }],
    ['hf:owner/name/a/b.gguf@v1.0', { repo: 'owner/name', revision: 'v1.0', file: 'a/b.gguf' }],
  ])('%s is understood', (text, expected) => expect(parseHubReference(text)).toEqual(expected))

  it.each([
    'hf:',
    'hf:/',
    'hf:owner/',
    'hf:../name',
    'hf:owner/..',
    'hf:owner/name@',
    'hf:owner/name@../x',
    'hf:owner/name/../x',
    'hf:owner/na?me',
    'hf:a b/c',
    'hf:owner/name@a\nb',
    'hf:o--p/name',
  ])('%j is none', async (text) => {
    await expect(fragment(text, { out: '/nowhere/a' })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringMatching(/^Cannot find a model in ".*": name it as hf:OWNER\/NAME, with \/FILE and @REVISION where needed$/),
    })
  })
})
