import { describe, expect, it } from 'vitest'
import { AssetError } from '../../src/api/index.js'
import { renderTemplate } from '../../src/text/render.js'

const GROW = '{% set ns = namespace(x="0123456789") %}'
const LOOP = (times: number, body: string) => `{% for i in range(${times}) %}${body}{% endfor %}`

async function outcome(template: string): Promise<string> {
  try {
    const text = await renderTemplate({ template, variables: { messages: [{ role: 'user', content: 'hello' }] } })
    return `it made ${text.length} characters`
  } catch (error) {
    if (!(error instanceof AssetError)) throw error
    return `${error.code} ${error.message}`
  }
}

describe('31: a chat template', () => {
  it('that does what templates do is rendered', async () => {
    expect(await outcome(`${LOOP(3, '{{ i }}')}{{ messages[0].content }}`)).toBe('it made 8 characters')
  })

  it.each([
    ['a range of a billion', LOOP(1_000_000_000, ''), /^LIMIT .*(takes more than 128 MB|longer than 5 seconds); give a prompt as text$/],
    ['loops in loops', LOOP(100_000, LOOP(100_000, '')), /^LIMIT .*longer than 5 seconds; give a prompt as text$/],
    ['30 million characters', LOOP(3_000_000, '0123456789'), /^LIMIT .*(30000000 characters, the limit is 16000000|5 seconds|128 MB)/],
    ['a text that doubles', `${GROW}${LOOP(24, '{% set ns.x = ns.x ~ ns.x %}')}{{ ns.x }}`, /^LIMIT .*167772160 characters/],
    ['a text that doubles without end', `${GROW}${LOOP(100, '{% set ns.x = ns.x ~ ns.x %}')}{{ ns.x }}`, /^(LIMIT|BAD_INPUT) /],
    ['a macro that calls itself', '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}', /^(LIMIT|BAD_INPUT) /],
    ['brackets without end', `{{ ${'('.repeat(200_000)} }}`, /^(LIMIT|BAD_INPUT) /],
    ['what it has no right to', '{{ messages.constructor.constructor("return process")().exit() }}', /^(BAD_INPUT|it made)/],
    ['an error of its own', '{{ raise_exception("no system\nmessages") }}', /^BAD_INPUT Cannot render messages: no system\\u000amessages$/],
  ])('with %s is ended, in one line, and the process goes on', { timeout: 30_000 }, async (_, template, message) => {
    expect(await outcome(template)).toMatch(message)
  })
})
