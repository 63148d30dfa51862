import { describe, expect, it } from 'vitest'
import { AssetError } from '../../src/core/errors.js'
import { harmless } from '../../src/core/one-line.js'
import { parseSafetensorsHeader } from '../../src/sources/safetensors.js'

const refusal = (header: object) => {
  try {
    parseSafetensorsHeader(Buffer.from(JSON.stringify(header)), 0, 'a file')
  } catch (error) {
    return error as AssetError
  }
  throw new Error('it was taken')
}

describe('the message of an error', () => {
  it('is one line, whatever names are in it', () => {
    for (const odd of ['\n', '\r\n', '\u001b[31m', '\u0000', '\u0085', '\u2028', '\u2029']) {
      const { message } = new AssetError('IO', `Cannot open a${odd}b: it is odd; rename it`)
      expect(message).toMatch(/^Cannot open a(\\u[0-9a-f]{4})+(\[31m)?b: it is odd; rename it$/)
    }
    expect(harmless('é 漢 🎉 \\n')).toBe('é 漢 🎉 \\n')
  })

  it('has a bounded length, and still says what to do at its end', () => {
    for (const long of ['x'.repeat(20_000_000), '\n'.repeat(5000), '🎉'.repeat(5001)]) {
      const { message } = new AssetError('IO', `Cannot open ${long}: it is long; rename it`)
      expect(message.length).toBeLessThanOrEqual(1000)
      expect(message).toMatch(/^Cannot open .* \.\.\. .*: it is long; rename it$/)
      expect(message.isWellFormed()).toBe(true)
      expect(new AssetError('IO', message).message).toBe(message)
    }
    const short = `Cannot open ${'x'.repeat(900)}: it is long; rename it`
    expect(new AssetError('IO', short).message).toBe(short)
  })

  it('of a hostile header is short as well', () => {
    const entry = { dtype: 'F32', shape: [0], data_offsets: [0, 0] }
    for (const header of [
      { a: { ...entry, dtype: 'F'.repeat(2_000_000) } },
      { ['n'.repeat(2_000_000)]: entry },
      { 'a\nb': { ...entry, dtype: '\n' } },
    ])
      expect(refusal(header).message).toMatch(/^Cannot read a file: [^\n]{1,990}$/)
  })
})
