import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CID } from 'multiformats/cid'
import { digestKey } from '../../core/cid.js'
import type { HeldBlocks, StoredBlocks } from '../../store/stored-blocks.js'
import { carHeader, sectionHead } from '../../transport/car-write.js'
import { ClientGone, deliver } from './deliver.js'
import { type CarShape, carType, RAW } from './format.js'
import { rangeOf } from './range.js'
import { Refusal } from './refusal.js'
import { type GatewayRequest, readRequest } from './request.js'
import { resolvePath, walkDag } from './walk.js'

const IDENTITY = 0x00

/**
 * Answers a GET or HEAD with what the store has; it never asks anyone else.
 * @throws Refusal for what is not sent, AssetError 'CORRUPT' | 'IO' where the store fails; before a byte was sent, or else the client's connection is to be cut
 */
export async function respond(message: IncomingMessage, reply: ServerResponse, stored: StoredBlocks): Promise<void> {
  const request = readRequest(message.url ?? '', message.headers.accept)
  const { root } = request
  const blocks = root.multihash.code === IDENTITY ? identityBlocks(request) : await stored.hold(root)
  if (!blocks) throw notHere(message, root)
  try {
    reply.setHeader('X-Content-Type-Options', 'nosniff')
    reply.setHeader('Cache-Control', 'public, max-age=29030400, immutable')
    if (request.location !== undefined) reply.setHeader('Content-Location', request.location)
    // What is sent depends on it where the URL does not say.
    reply.setHeader('Vary', 'Accept')
    if (request.format.type === 'raw') await sendBlock(message, reply, request, blocks)
    else await sendCar(message, reply, request, request.format, blocks)
  } finally {
    blocks.release()
  }
}

function notHere(message: IncomingMessage, root: CID): Refusal {
  const isCachedOnly = /\bonly-if-cached\b/.test(message.headers['cache-control'] ?? '')
  return new Refusal(isCachedOnly ? 412 : 404, `Cannot find ${root}: it is not in this store`)
}

/** What a CID that carries its own bytes stands for; that anything is below it is not looked into. */
function identityBlocks({ root, path }: GatewayRequest): HeldBlocks {
  if (root.multihash.digest.byteLength > 128)
    throw new Refusal(400, 'Cannot send the block: its CID carries more than 128 bytes; ask for one with a hash')
  if (path.length > 0) throw new Refusal(404, 'Cannot find the path: it begins at a CID that carries its own bytes')
  return { block: async () => root.multihash.digest, release: () => undefined }
}

async function sendBlock(message: IncomingMessage, reply: ServerResponse, request: GatewayRequest, blocks: HeldBlocks): Promise<void> {
  const { root } = request
  const etag = `"${root}.raw"`
  reply.setHeader('Accept-Ranges', 'bytes')
  reply.setHeader('X-Ipfs-Roots', String(root))
  name(reply, request, `${root}.bin`)
  if (isUnchanged(message, reply, etag)) return
  // Read whole, so that a byte that is damaged is found before any is sent.
  const bytes = await blocks.block(root)
  const range = rangeOf(message, bytes.byteLength, etag)
  const part = range ? bytes.subarray(range.from, range.to + 1) : bytes
  reply.setHeader('Content-Type', RAW)
  reply.setHeader('Content-Length', part.byteLength)
  if (range) {
    reply.statusCode = 206
    reply.setHeader('Content-Range', `bytes ${range.from}-${range.to}/${bytes.byteLength}`)
  }
  await deliver(reply, message.method === 'HEAD' || part.byteLength === 0 ? [] : [part])
}

async function sendCar(
  message: IncomingMessage,
  reply: ServerResponse,
  request: GatewayRequest,
  shape: CarShape,
  blocks: HeldBlocks,
): Promise<void> {
  const { root, path, part } = request
  const isIdentity = root.multihash.code === IDENTITY
  const { cid, roots, way } = await resolvePath(root, path, blocks)
  reply.setHeader('Accept-Ranges', 'none')
  reply.setHeader('X-Ipfs-Roots', roots.join(','))
  name(reply, request, `${[root, ...path.slice(-1)].join('_')}.car`)
  const key = createHash('sha256')
    .update(JSON.stringify([path, part, shape]))
    .digest('hex')
  if (isUnchanged(message, reply, `W/"${root}.car.${key.slice(0, 16)}"`)) return
  reply.setHeader('Content-Type', carType(shape))
  // Read before the first byte is sent, as it is what is asked for: if it is damaged, the status can say so.
  await blocks.block(cid)
  const sections = async function* () {
    yield carHeader([cid])
    if (isIdentity) return
    const sent = new Set<string>()
    const isWanted = (cid: CID) => {
      // Of what was sent already, whole branches are gone through without a byte that would tell.
      if (message.socket.destroyed) throw new ClientGone()
      return shape.dups === 'y' || sent.size < sent.add(digestKey(cid.multihash.digest)).size
    }
    for (const step of way) if (isWanted(step)) yield* section(step, await blocks.block(step))
    for await (const block of walkDag(cid, part, blocks, isWanted)) yield* section(block.cid, block.bytes)
  }
  await deliver(reply, message.method === 'HEAD' ? [] : sections())
}

function* section(cid: CID, bytes: Uint8Array): Generator<Uint8Array> {
  yield sectionHead(cid, bytes.byteLength)
  if (bytes.byteLength > 0) yield bytes
}

function name(reply: ServerResponse, { filename }: GatewayRequest, fallback: string): void {
  const wished = (filename ?? fallback).toWellFormed()
  const ascii = encodeURIComponent(wished.replace(/[^\x20-\x7e]/g, '_'))
  reply.setHeader('Content-Disposition', `attachment; filename="${ascii}"; filename*=UTF-8''${encodeURIComponent(wished)}`)
}

/** Sets the tag of what would be sent; where the client says that it has that, it is told so and no more. */
function isUnchanged(message: IncomingMessage, reply: ServerResponse, etag: string): boolean {
  reply.setHeader('Etag', etag)
  const opaque = (tag: string) => tag.trim().replace(/^W\//, '')
  const known = (message.headers['if-none-match'] ?? '').split(',').map(opaque)
  if (!known.includes('*') && !known.includes(opaque(etag))) return false
  reply.writeHead(304).end()
  return true
}
