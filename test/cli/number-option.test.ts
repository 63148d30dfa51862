import { expect, it } from 'vitest'
import { numberOption, wholeOption } from '../../src/cli/number-option.js'

it('an option takes numbers within its bounds, and nothing else', () => {
  const seed = wholeOption('seed', -5, 5)
  const p = numberOption('top-p', { from: Number.MIN_VALUE, to: 1, wanted: 'a number above 0, at most 1' })
  expect(['-5', '0', '5', '5.0', ' 3 '].map(seed)).toEqual([-5, 0, 5, 5, 3])
  expect(['1', '0.5', '1e-9'].map(p)).toEqual([1, 0.5, 1e-9])
  for (const text of ['', ' ', '6', '-6', '1.5', 'many', 'NaN', 'Infinity', '1,2', '1e400'])
    expect(() => seed(text)).toThrow(
      expect.objectContaining({
        code: 'BAD_USAGE',
        message: `Cannot read --seed ${JSON.stringify(text)}: give a whole number from -5 to 5`,
      }),
    )
  for (const text of ['0', '1.1', '-1', '']) expect(() => p(text)).toThrow('give a number above 0, at most 1')
})
