import type { IncomingHttpHeaders } from 'node:http'
import { AssetError } from '../../core/errors.js'
import { parseJson } from '../../core/json.js'
import { redirectKind } from '../addresses.js'
import { HttpOrigin } from '../http.js'
import type { HttpReply } from '../http-reply.js'
import { again, Passing, retryAfter } from './again.js'
import type { HubSettings } from './settings.js'

const MOST_REDIRECTS = 5
/** bytes of one answer of the API; a page of a listing has a thousand files */
const MOST_JSON = 16 * 1024 * 1024
/** answers that one call of the API may take: pages of a listing */
const MOST_PAGES = 200
const PAUSE_MS = 500

/** A reply to a question, wherever it came from in the end. */
export interface HubReply {
  readonly reply: HttpReply
  readonly url: URL
  /** the headers of what the hub itself answered last */
  readonly said: IncomingHttpHeaders
}

/** Asks the hub, and those whom it sends on to. The token goes to the hub alone. */
export class HubClient {
  private readonly hub: URL
  private readonly origins = new Map<string, HttpOrigin>()

  /**
   * @param what what is asked for, for messages
   * @param pause milliseconds before the second try
   */
  constructor(
    private readonly settings: HubSettings,
    readonly what: string,
    private readonly repo: string,
    readonly signal: AbortSignal | undefined,
    readonly pause: number = PAUSE_MS,
  ) {
    this.hub = new URL(settings.endpoint)
  }

  /** True for an address of the hub itself. */
  isOwn(url: URL): boolean {
    return url.origin === this.hub.origin
  }

  /**
   * Asks for what is at an address, bytes `from` to `to` of it where they are given, and follows where it is sent on to.
   * @throws AssetError 'BAD_INPUT' for a redirect that is not to be followed; 'IO' where there is no answer; 'ABORTED'
   */
  async open(address: URL, range?: { readonly from: number; readonly to: number }): Promise<HubReply> {
    let [url, isPublic, said]: [URL, boolean, IncomingHttpHeaders] = [address, !this.isOwn(address) && this.isPublic(address), {}]
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const isOwn = this.isOwn(url)
      const reply = await this.originOf(url, isPublic).request({
        path: url.pathname + url.search,
        follow: false,
        headers: {
          ...(range && { range: `bytes=${range.from}-${range.to - 1}` }),
          ...(isOwn && this.settings.token !== undefined && { authorization: `Bearer ${this.settings.token}` }),
        },
        signal: this.signal,
      })
      if (isOwn) said = reply.headers
      const location = [301, 302, 303, 307, 308].includes(reply.status) ? reply.headers.location : undefined
      if (location === undefined) return { reply, url, said }
      await reply.cancel()
      const to = URL.canParse(location, url.href) ? new URL(location, url) : undefined
      if (!to || !this.mayFollow(url, to)) throw this.bad(`it redirects to ${to?.origin ?? 'what is no address'}, which is not followed`)
      isPublic ||= !this.isOwn(to) && this.isPublic(to)
      url = to
      url.username = ''
      url.password = ''
    }
    throw this.bad(`it redirects more than ${MOST_REDIRECTS} times`)
  }

  /** On the host of a hub that is not on the public internet another port is as good as the hub's. */
  private mayFollow(from: URL, to: URL): boolean {
    const { hostname } = this.hub
    const isBeside = to.protocol === from.protocol && to.hostname === hostname && from.hostname === hostname
    return isBeside || redirectKind(from, to) !== 'refused'
  }

  /** True where an address must be on the public internet, since the hub chose its host. */
  private isPublic(url: URL): boolean {
    return url.hostname !== this.hub.hostname
  }

  private originOf(url: URL, isPublic: boolean): HttpOrigin {
    const key = `${url.origin} ${isPublic}`
    const known = this.origins.get(key)
    if (known) return known
    const origin = new HttpOrigin(url.origin, undefined, isPublic)
    this.origins.set(key, origin)
    return origin
  }

  /**
   * A `fetch` for `@huggingface/hub`, which asks the hub's API alone. Answers are bounded and are JSON; whatever else the hub
   * answers is an error here already, so that none has an address or a text of others in it.
   */
  fetchApi(): typeof fetch {
    let pages = 0
    return async (input) => {
      const url = new URL(input instanceof Request ? input.url : input)
      if (!this.isOwn(url)) throw this.bad(`a listing of it goes on at ${url.origin}, which is not the hub`)
      pages += 1
      if (pages > MOST_PAGES) throw new AssetError('LIMIT', `Cannot list ${this.what}: it takes more than ${MOST_PAGES} answers`)
      const { headers, bytes } = await again(() => this.json(url), this)
      parseJson(bytes, `what ${this.hub.origin} says of ${this.what}`)
      const { link } = headers
      return new Response(bytes, { headers: { 'content-type': 'application/json', ...(typeof link === 'string' && { link }) } })
    }
  }

  private async json(url: URL): Promise<{ headers: IncomingHttpHeaders; bytes: Uint8Array<ArrayBuffer> }> {
    const opened = await this.open(url)
    if (opened.reply.status !== 200) throw await this.refused(opened)
    return { headers: opened.reply.headers, bytes: new Uint8Array(await opened.reply.bytes(MOST_JSON)) }
  }

  /** Why a reply is not what was asked for; lets go of it. */
  async refused({ reply, url }: HubReply): Promise<AssetError> {
    const { status, headers } = reply
    await reply.cancel()
    const hasToken = this.settings.token !== undefined
    const code = headers['x-error-code']
    const because = (code: 'NOT_FOUND' | 'IO', why: string) => new AssetError(code, `Cannot read ${this.what}: ${why}`)
    if (status === 429 || status >= 500) {
      const after = retryAfter(headers['retry-after'])
      const when = after === undefined ? 'later' : `in ${Math.ceil(after / 1000)} s`
      const why = status === 429 ? `${url.origin} is asked too often` : `${url.origin} answers ${status}`
      return new Passing(
        `Cannot read ${this.what}: ${why}; try again ${when}${status === 429 && !hasToken ? ', or set HF_TOKEN' : ''}`,
        after,
      )
    }
    if (status === 403 || code === 'GatedRepo') {
      const conditions = `accept its conditions at ${this.settings.endpoint}/${this.repo}`
      return because(
        'NOT_FOUND',
        `it is not open to everybody; ${conditions}, ${hasToken ? 'or use another HF_TOKEN' : 'and set HF_TOKEN'}`,
      )
    }
    if (status === 404 && code === 'RevisionNotFound')
      return because('NOT_FOUND', 'the repository has no such revision; check what follows the @')
    if (status === 404 && code === 'EntryNotFound') return because('NOT_FOUND', 'the repository has no such file; check the name')
    if ((status === 401 || status === 404) && !hasToken)
      return because(
        'NOT_FOUND',
        'there is no such repository, or it is private; check the name, or set HF_TOKEN to a token that may read it',
      )
    if (status === 401)
      return because('NOT_FOUND', 'the hub does not take HF_TOKEN; check the name, and make a new token in the settings there')
    if (status === 404) return because('NOT_FOUND', 'there is no such repository that HF_TOKEN may read; check the name')
    return this.bad(`${url.origin} answers ${status}`)
  }

  /** @internal What the hub answered makes no sense. */
  bad(why: string): AssetError {
    return new AssetError('BAD_INPUT', `Cannot read ${this.what}: ${why}`)
  }

  /** Ends the connections that are kept. */
  async close(): Promise<void> {
    for (const origin of this.origins.values()) await origin.close()
  }
}
