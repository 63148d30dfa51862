import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import { elementType, type GraphIndex } from '../graph/cut.js'
import { DECODER_IDS } from '../graph/halves.js'
import { quoted, shown } from '../graph/names.js'
import { tensorOver, tensorType } from './tensors.js'

/** Values by their names in the graph. */
export type Values = Map<string, Tensor>

/**
 * All inputs of a graph out of those given: an empty cache, a mask of ones, positions from the mask and token types of
 * zero are filled in. `past` is the number of positions before the first, that of the caches given unless said otherwise. Types, shapes, and dimensions that the graph gives one name are checked before anything is made.
 * @throws AssetError 'BAD_INPUT' for an input that is unknown, missing, or of the wrong type or shape
 */
export function completeFeeds(index: GraphIndex, given: ReadonlyMap<string, Tensor>, past = pastOf(given)): Values {
  const names = new Set(index.inputs.map(({ name }) => name))
  for (const [name, tensor] of given) {
    if (!names.has(name)) throw bad(`it has no input ${shown(name)}; its inputs are ${[...names].slice(0, 8).map(shown).join(', ')}`)
    checkFeed(index, name, tensor)
  }
  checkTogether(index, given)
  const feeds: Values = new Map(given)
  const tokens = tokensOf(index)
  if (tokens === DECODER_IDS) fillMask(names, feeds, 'input_ids', 'attention_mask', 0)
  fillMask(names, feeds, tokens, tokens === DECODER_IDS ? 'decoder_attention_mask' : 'attention_mask', past)
  fillIn(index, names, feeds, feeds.get(tokens), past)
  for (const name of names) if (!feeds.has(name)) throw bad(`the input ${shown(name)} is missing`)
  checkTogether(index, feeds)
  return feeds
}

/** Positions in the caches. */
function pastOf(given: ReadonlyMap<string, Tensor>): number {
  const key = given.get('past_key_values.0.key')
  return key && key.size > 0 ? (key.dims[2] ?? 0) : 0
}

/** What the tokens are called that a cache of keys and values is of. */
export function tokensOf({ inputs }: GraphIndex): string {
  return inputs.some(({ name }) => name === DECODER_IDS) ? DECODER_IDS : 'input_ids'
}

/** Checks some ids (batch, sequence) and the mask that goes with them, or adds one of ones. */
function fillMask(names: ReadonlySet<string>, feeds: Values, of: string, name: string, past: number): void {
  const [ids, mask] = [feeds.get(of), feeds.get(name)]
  if (!ids || !names.has(of)) return
  if (ids.dims.length !== 2 || ids.size === 0) throw bad(`${of} has the shape [${ids.dims}]; give (batch, sequence), neither empty`)
  const [batch, sequence] = ids.dims as [number, number]
  if (mask?.dims.length === 2 && (mask.dims[0] !== batch || mask.dims[1] !== past + sequence))
    throw bad(
      `the input ${name} has the shape [${mask.dims}], expected [${batch},${past + sequence}]: a column for each token, those in the cache too`,
    )
  if (names.has(name) && !mask) feeds.set(name, filled(batch, past + sequence, 1n))
}

/** Adds what else follows from the ids (batch, sequence) and the inputs given. */
function fillIn(index: GraphIndex, names: ReadonlySet<string>, feeds: Values, ids: Tensor | undefined, past: number): void {
  if (!ids) return
  const [batch, sequence] = ids.dims as [number, number]
  const lacks = (name: string) => names.has(name) && !feeds.has(name)
  if (lacks('token_type_ids')) feeds.set('token_type_ids', filled(batch, sequence, 0n))
  if (lacks('position_ids')) feeds.set('position_ids', positions(feeds.get('attention_mask'), batch, past + sequence, sequence))
  for (const name of names) if (name.startsWith('past_key_values.') && lacks(name)) feeds.set(name, emptyCache(index, name, batch))
  for (const name of names) if (feeds.has(name)) checkFeed(index, name, feeds.get(name)!)
}

function filled(rows: number, columns: number, value: bigint): Tensor {
  return new Tensor('int64', new BigInt64Array(rows * columns).fill(value), [rows, columns])
}

/** Each token's place among the tokens of its row, padding left out, for the last `sequence` columns of the mask (batch, total); all are tokens without one. */
function positions(mask: Tensor | undefined, batch: number, total: number, sequence: number): Tensor {
  const from = mask?.type === 'int64' && mask.dims.length === 2 ? (mask.data as BigInt64Array) : undefined
  const result = new BigInt64Array(batch * sequence)
  for (let row = 0; row < batch; row++) {
    let seen = 0n
    for (let column = 0; column < total; column++) {
      seen += from ? from[row * total + column]! : 1n
      const at = column - (total - sequence)
      if (at >= 0) result[row * sequence + at] = seen > 0n ? seen - 1n : 0n
    }
  }
  return new Tensor('int64', result, [batch, sequence])
}

/** The dimensions that a graph declares for an input: sizes, names of sizes that vary, or undefined for neither. */
function dimsOf(index: GraphIndex, name: string): (number | string | undefined)[] | undefined {
  const type = index.types.get(name)?.value
  if (type?.case !== 'tensorType') return undefined
  return type.value.shape?.dim.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : value.value || undefined))
}

function emptyCache(index: GraphIndex, name: string, batch: number): Tensor {
  const dims = dimsOf(index, name)
  const size = (axis: number) => (typeof dims?.[axis] === 'number' ? dims[axis] : 1)
  return tensorOver(elementType(index, name), new Uint8Array(0), [batch, size(1), 0, size(3)])
}

function checkFeed(index: GraphIndex, name: string, tensor: Tensor): void {
  const type = tensorType(elementType(index, name))
  if (tensor.type !== type) throw bad(`the input ${shown(name)} is of ${tensor.type}, expected ${type}`)
  const dims = dimsOf(index, name)
  const fits =
    !dims || (dims.length === tensor.dims.length && dims.every((dim, axis) => typeof dim !== 'number' || dim === tensor.dims[axis]))
  if (!fits)
    throw bad(
      `the input ${shown(name)} has the shape [${tensor.dims}], expected [${dims?.map((dim) => (typeof dim === 'number' ? dim : '?'))}]`,
    )
}

/** A dimension with a name (`batch`, `past_sequence`) is of one size in all inputs. */
function checkTogether(index: GraphIndex, feeds: ReadonlyMap<string, Tensor>): void {
  const sizes = new Map<string, { size: number; name: string }>()
  for (const [name, { dims }] of feeds) {
    for (const [axis, dim] of dimsOf(index, name)?.entries() ?? []) {
      if (typeof dim !== 'string') continue
      const size = dims[axis]!
      const known = sizes.get(dim)
      if (known && known.size !== size)
        throw bad(`the inputs ${shown(known.name)} and ${shown(name)} disagree on ${quoted(dim)}: ${known.size} and ${size}`)
      sizes.set(dim, { size, name })
    }
  }
}

function bad(why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot run the model: ${why}`)
}
