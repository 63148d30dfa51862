import { AssetError } from './errors.js'
import { LIMITS } from './limits.js'

/** What a JSON text holds, counted without making any of it. */
export interface JsonCounts {
  /** keys of objects: in valid JSON, a colon outside of a string always follows one */
  readonly keys: number
  /** values: each separator and each bracket begins one */
  readonly values: number
  /** how deep objects and lists are nested */
  readonly depth: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

/** Counts what parsing would allocate: two bytes of text can cost fifty of memory. */
export function countJson(bytes: Uint8Array): JsonCounts {
  let [keys, values, depth, deepest] = [0, 1, 0, 0]
  let inString = false
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === BACKSLASH) i += 1
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (byte === COLON) keys += 1
    else if (byte === COMMA) values += 1
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      values += 1
      depth += 1
      if (depth > deepest) deepest = depth
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth -= 1
  }
  return { keys, values, depth: deepest }
}

/**
 * Parses UTF-8 JSON that came from outside; what it holds is counted before anything is made of it.
 * @throws AssetError 'BAD_INPUT' "Cannot read <what>: ..." where it is not UTF-8 or not JSON, 'LIMIT' where it holds too much.
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  const { values, depth } = countJson(bytes)
  if (depth > LIMITS.jsonDepth) throw new AssetError('LIMIT', `Cannot read ${what}: it is nested deeper than ${LIMITS.jsonDepth}`)
  if (values > LIMITS.jsonValues) throw new AssetError('LIMIT', `Cannot read ${what}: it holds more than ${LIMITS.jsonValues} values`)
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new AssetError(
      'BAD_INPUT',
      `Cannot read ${what}: it is not valid UTF-8 JSON (${cause instanceof Error ? cause.message : cause})`,
      { cause },
    )
  }
}

/** Parses JSON that must be an object. @throws AssetError 'BAD_INPUT' | 'LIMIT' */
export function parseJsonObject(bytes: Uint8Array, what: string): Record<string, unknown> {
  const value = parseJson(bytes, what)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AssetError('BAD_INPUT', `Cannot read ${what}: it must be a JSON object`)
  }
  return value as Record<string, unknown>
}
