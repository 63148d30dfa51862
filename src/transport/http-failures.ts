import { setMaxListeners } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { AssetError, systemCode } from '../core/errors.js'
import { Patience } from './patience.js'

/** Why a request failed, in the words of {@link AssetError}: without what failed. */
function why(error: unknown): string {
  const known: Record<string, string> = {
    ECONNREFUSED: 'nothing answers there (connection refused)',
    ENOTFOUND: 'there is no such host',
    EAI_AGAIN: 'the host could not be looked up',
    ECONNRESET: 'the connection was cut',
    EPIPE: 'the connection was cut',
    ETIMEDOUT: 'nothing answers there',
    EHOSTUNREACH: 'the host can not be reached',
    ENETUNREACH: 'the network can not be reached',
  }
  return known[systemCode(error) ?? ''] ?? (error instanceof Error ? error.message : String(error))
}

/** How what goes wrong with a web server is told, and who waits for it no longer. */
export class HttpFailures {
  /** @param name of the server, for messages */
  constructor(readonly name: string) {}

  /** Watches who should send or take bytes: one that makes no progress is ended. */
  watch(one: ClientRequest | IncomingMessage, patience: number): Patience {
    return new Patience(patience, () => one.destroy(this.failed(`it made no progress for ${patience / 1000} s`)))
  }

  /** What is thrown for whatever was thrown. */
  failure(error: unknown, signal: AbortSignal | undefined): AssetError {
    if (signal?.aborted) return new AssetError('ABORTED', `Cannot finish to ask ${this.name}: it was cancelled`, { cause: signal.reason })
    return error instanceof AssetError ? error : this.failed(why(error), error)
  }

  failed(reason: string, cause?: unknown): AssetError {
    return new AssetError('IO', `Cannot get an answer of ${this.name}: ${reason}`, { cause })
  }

  tooLong(limit: number): AssetError {
    return new AssetError('LIMIT', `Cannot take the answer of ${this.name}: it has more than ${limit} bytes`)
  }
}

/**
 * Ends a request or an answer when the signal fires, until what this gives is called: whoever has the whole answer has given
 * the connection back.
 */
export function boundTo(signal: AbortSignal | undefined, one: ClientRequest | IncomingMessage): () => void {
  const onAbort = () => one.destroy(new Error('cancelled'))
  // One signal for many requests at the same time is no leak.
  if (signal) setMaxListeners(0, signal)
  signal?.addEventListener('abort', onAbort, { once: true })
  return () => signal?.removeEventListener('abort', onAbort)
}
