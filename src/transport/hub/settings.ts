import { AssetError } from '../../core/errors.js'
import { shown } from '../shown.js'

/** How the hub is asked, by the variables that other tools for it know too. */
export interface HubSettings {
  /** its address, without a slash at the end */
  readonly endpoint: string
  readonly token: string | undefined
  /** nothing is asked: only what is in the cache is there */
  readonly isOffline: boolean
}

const TRUE = new Set(['1', 'ON', 'YES', 'TRUE'])

/** @throws AssetError 'BAD_USAGE' where a variable can't be what it should */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  const endpoint = env.HF_ENDPOINT || 'https://huggingface.co'
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash || url.username || url.password)
    throw new AssetError(
      'BAD_USAGE',
      `Cannot use HF_ENDPOINT ${JSON.stringify(shown(endpoint))}: give an address such as https://huggingface.co, without a password`,
    )
  const token = env.HF_TOKEN?.trim() || undefined
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token))
    throw new AssetError('BAD_USAGE', 'Cannot use HF_TOKEN: it has characters that no token has; copy it again')
  return { endpoint: url.href.replace(/\/+$/, ''), token, isOffline: TRUE.has((env.HF_HUB_OFFLINE ?? '').toUpperCase()) }
}
