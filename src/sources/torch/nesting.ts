import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { bad, inside, type Value } from './values.js'

/**
 * Walks all that a recorded value holds, each once, without recursion, so that whoever looks into it later needs no care.
 * @throws AssetError 'BAD_INPUT' where a value holds itself, 'LIMIT' where values are nested too deep
 */
export function checkNesting(value: Value, what: string): void {
  const done = new Set<Value>()
  const open = new Map<Value, Iterator<Value>>([[value, inside(value)[Symbol.iterator]()]])
  const path = [value]
  while (path.length > 0) {
    const next = open.get(path.at(-1)!)!.next()
    if (next.done) {
      const closed = path.pop()!
      open.delete(closed)
      done.add(closed)
      continue
    }
    const child = next.value
    if (typeof child !== 'object' || child === null || done.has(child)) continue
    if (open.has(child)) throw bad(what, 'a value of its pickle holds itself')
    if (path.length >= LIMITS.pickleDepth)
      throw new AssetError('LIMIT', `Cannot read ${what}: its pickle is nested deeper than ${LIMITS.pickleDepth}`)
    open.set(child, inside(child)[Symbol.iterator]())
    path.push(child)
  }
}

/** Says whether anything that a value holds, itself among it, is as asked; the value must have passed {@link checkNesting}. */
export function holds(value: Value, test: (value: Value) => boolean): boolean {
  const seen = new Set<Value>([value])
  const ahead = [value]
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    if (test(next)) return true
    for (const child of inside(next)) {
      if (typeof child !== 'object' || child === null || seen.has(child)) continue
      seen.add(child)
      ahead.push(child)
    }
  }
  return false
}
