import { formatBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'

/** A budget below what is needed; all in bytes. */
export class BudgetTooSmall extends AssetError {
  constructor(
    readonly budget: number,
    readonly minimum: number,
    /** for people: what needs so much */
    readonly what: string,
  ) {
    super(
      'BUDGET_TOO_SMALL',
      `Cannot run within ${formatBytes(budget)} of memory: ${what} need ${formatBytes(minimum)}; give at least ${minimum} bytes`,
    )
  }
}

/** The error for a budget below `minimum` bytes, which `what` need. */
export function tooSmall(budget: number, minimum: number, what: string): BudgetTooSmall {
  return new BudgetTooSmall(budget, minimum, what)
}

/**
 * Plans weights within what a budget leaves when its tokenizer takes `bytes` of it; an error names what both need.
 * @throws AssetError 'BUDGET_TOO_SMALL' and those of `plan`
 */
export async function besideTokenizer<T>(
  bytes: number,
  budgetOf: (total: number) => number,
  plan: (budgetOf: (total: number) => number) => T | Promise<T>,
): Promise<T> {
  try {
    return await plan((total) => budgetOf(total) - bytes)
  } catch (error) {
    if (!(error instanceof BudgetTooSmall) || bytes === 0) throw error
    throw tooSmall(error.budget + bytes, error.minimum + bytes, `${error.what} and the tokenizer`)
  }
}
