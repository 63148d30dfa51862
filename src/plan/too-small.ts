import { formatBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'

/** The error for a budget below `minimum` bytes, which `what` need. */
export function tooSmall(budget: number, minimum: number, what: string): AssetError {
  return new AssetError(
    'BUDGET_TOO_SMALL',
    `Cannot run within ${formatBytes(budget)} of memory: ${what} need ${formatBytes(minimum)}; give at least ${minimum} bytes`,
  )
}
