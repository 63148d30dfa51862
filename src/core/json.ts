import { AssetError } from './errors.js'

/**
 * Parses UTF-8 JSON that came from outside.
 * @throws AssetError 'BAD_INPUT' "Cannot read <what>: ..." where it is not UTF-8 or not JSON.
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
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

/** Parses JSON that must be an object. @throws AssetError 'BAD_INPUT' */
export function parseJsonObject(bytes: Uint8Array, what: string): Record<string, unknown> {
  const value = parseJson(bytes, what)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AssetError('BAD_INPUT', `Cannot read ${what}: it must be a JSON object`)
  }
  return value as Record<string, unknown>
}
