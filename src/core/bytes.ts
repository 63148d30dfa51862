import { AssetError } from './errors.js'

const UNITS: Record<string, number> = { '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }
for (const [index, unit] of ['kib', 'mib', 'gib', 'tib'].entries()) UNITS[unit] = 2 ** (10 * (index + 1))

/**
 * Bytes from a number or a text such as `512MiB`, `1.5 GB` or `2G` (KiB, MiB, GiB, and K, M, G, are powers of 1024; KB, MB, GB of 1000).
 * @throws AssetError 'BAD_USAGE' for anything else, negative, zero or above 2^53 - 1.
 */
export function parseBytes(size: number | string, what = 'size'): number {
  const match = typeof size === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(size) : undefined
  const unit = match ? UNITS[match[2]!.toLowerCase()] : undefined
  const bytes = typeof size === 'number' ? size : match && unit ? Math.floor(Number(match[1]) * unit) : Number.NaN
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new AssetError(
      'BAD_USAGE',
      `Cannot read ${what} ${JSON.stringify(size)}: give a number of bytes or a text such as "512MiB" or "2GB"`,
    )
  }
  return bytes
}

/** Bytes for people: `1.5 MiB`, `215 KiB`, `12 B`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (Math.abs(value) < 1024) return `${unit === 'B' || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`
    value /= 1024
  }
  return `${value.toFixed(1)} TiB`
}
