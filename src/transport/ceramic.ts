import type { CID } from 'multiformats/cid'
import { isCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { parseJsonObject } from '../core/json.js'
import type { BlockOptions, Broker } from './broker.js'
import { HttpOrigin } from './http.js'
import { Retriever } from './retriever.js'

const MOST_STATE = 256 * 1024
const MOST_LOCATIONS = 16

/**
 * An asset whose whereabouts are the content of a Ceramic stream: `{ "cid": "bafy…", "multiURI": ["ipfs://…", "https://…"] }`, either
 * alone will do. Whoever controls the stream says where to look, never what is found: each block is verified. Streams are read by
 * the HTTP API of a node when the first block is asked for.
 * Source: https://developers.ceramic.network/docs/protocol/js-ceramic/guides/ceramic-clients/javascript-clients/http-api
 * @param id what follows `ceramic://`: a StreamID, or a CommitID
 * @param sourcesOf brokers for URIs that others chose, in their order @throws AssetError 'BAD_USAGE' for one that is not to be used
 * @throws AssetError 'BAD_USAGE' for what is no stream
 */
export function ceramic(id: string, nodes: readonly string[], sourcesOf: (uris: readonly string[]) => Broker[]): Broker[] {
  if (!/^k[0-9a-z]{40,160}$/.test(id))
    throw new AssetError('BAD_USAGE', `Cannot use the source "ceramic://${id}": give the StreamID, such as ceramic://kjzl6c…`)
  return nodes.map((address) => stream(id, new HttpOrigin(address), sourcesOf))
}

function stream(id: string, origin: HttpOrigin, sourcesOf: (uris: readonly string[]) => Broker[]): Broker {
  const name = `ceramic ${origin.name} ${id}`
  const stop = new AbortController()
  let known: Promise<Retriever | undefined> | undefined
  const find = async (): Promise<Retriever | undefined> => {
    const { signal } = stop
    const reply = await origin.request({ path: `/api/v0/streams/${id}`, headers: { accept: 'application/json' }, signal })
    const bytes = await reply.bytes(MOST_STATE)
    if (reply.status === 404) return undefined
    if (reply.status !== 200)
      throw new AssetError(
        'IO',
        `Cannot read the ${name}: it answers ${reply.status} ${Buffer.from(bytes).toString().slice(0, 200).trim()}`,
      )
    return new Retriever(sourcesOf(locationsIn(parseJsonObject(bytes, `the ${name}`), name)))
  }
  return {
    name,
    async block(cid: CID, options: BlockOptions) {
      // Whoever asks first is not the only one who waits for it: it goes on when that one is cancelled.
      known ??= find().catch((error: unknown) => {
        known = undefined
        throw error
      })
      const retriever = await unlessAborted(known, options.signal, `read the ${name}`)
      try {
        return await retriever?.block(cid, options)
      } catch (error) {
        if (error instanceof AssetError && error.code === 'NOT_FOUND') return undefined
        throw error
      }
    },
    async close() {
      stop.abort()
      await (await known?.catch(() => undefined))?.close()
      await origin.close()
    },
  }
}

/** What a promise resolves to, unless the signal fires before. @throws AssetError 'ABORTED' */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined, doing: string): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(new AssetError('ABORTED', `Cannot finish to ${doing}: it was cancelled`, { cause: signal?.reason }))
    if (signal?.aborted) onAbort()
    signal?.addEventListener('abort', onAbort)
    promise.then(resolve, reject).finally(() => signal?.removeEventListener('abort', onAbort))
  })
}

/** The URIs in the newest content of a stream. @throws AssetError 'BAD_INPUT' where there are none */
function locationsIn({ state }: Record<string, unknown>, name: string): string[] {
  const bad = (why: string) => new AssetError('BAD_INPUT', `Cannot use the ${name}: ${why}`)
  if (!isObject(state)) throw bad('it has no state')
  // What was written since the last anchor is in `next`.
  const content = isObject(state.next) && isObject(state.next.content) ? state.next.content : state.content
  const { cid, multiURI = [] } = isObject(content) ? content : {}
  if (!Array.isArray(multiURI) || multiURI.length > MOST_LOCATIONS || !multiURI.every((uri) => typeof uri === 'string'))
    throw bad(`its multiURI is no list of at most ${MOST_LOCATIONS} URIs`)
  const own = typeof cid === 'string' && isCid(cid) ? [`ipfs://${cid}`] : []
  const uris = [...multiURI, ...own]
  if (uris.length === 0) throw bad('its content says neither "cid" nor "multiURI"')
  return uris
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
