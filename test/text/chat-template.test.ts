import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { renderTemplate } from '../../src/text/render.js'
import type { Message } from '../../src/text/tokenizer.js'
import { sharedModel } from '../shared.js'

const folder = sharedModel('chat-template')

describe.runIf(folder !== undefined)('chat templates', () => {
  it('render to the character', async () => {
    const { chat_template: template, cases } = JSON.parse(await readFile(`${folder}/golden.json`, 'utf8')) as {
      chat_template: string
      cases: { messages: Message[]; add_generation_prompt: boolean; text: string }[]
    }
    for (const { messages, add_generation_prompt: prompt, text } of cases)
      expect(await renderTemplate({ template, variables: { messages, add_generation_prompt: prompt } })).toBe(text)
  })
})
