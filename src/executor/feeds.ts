import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import { elementType, type GraphIndex } from '../graph/cut.js'
import { tensorType } from './tensors.js'

/** Values by their names in the graph. */
export type Values = Map<string, Tensor>

/**
 * All inputs of a graph out of those given: an empty cache, a mask of ones, positions from the mask and token types of
 * zero are filled in.
 * @throws AssetError 'BAD_INPUT' for an input that is unknown, missing, or of the wrong type or shape
 */
export function completeFeeds(index: GraphIndex, given: ReadonlyMap<string, Tensor>): Values {
  const names = new Set(index.inputs.map(({ name }) => name))
  for (const name of given.keys())
    if (!names.has(name)) throw bad(`it has no input ${name}; its inputs are ${[...names].slice(0, 8).join(', ')}`)
  const feeds: Values = new Map(given)
  const ids = feeds.get('input_ids')
  if (names.has('input_ids') && ids) {
    if (ids.dims.length !== 2 || ids.size === 0) throw bad(`input_ids has the shape [${ids.dims}]; give (batch, sequence), neither empty`)
    const [batch, sequence] = ids.dims as [number, number]
    const past = given.get('past_key_values.0.key')?.dims[2] ?? 0
    if (names.has('attention_mask') && !feeds.has('attention_mask')) feeds.set('attention_mask', filled(batch, past + sequence, 1n))
    if (names.has('token_type_ids') && !feeds.has('token_type_ids')) feeds.set('token_type_ids', filled(batch, sequence, 0n))
    if (names.has('position_ids') && !feeds.has('position_ids'))
      feeds.set('position_ids', positions(feeds.get('attention_mask')!, sequence))
    for (const name of names) if (name.startsWith('past_key_values.') && !feeds.has(name)) feeds.set(name, emptyCache(index, name, batch))
  }
  for (const { name } of index.inputs) checkFeed(index, name, feeds.get(name))
  return feeds
}

function filled(rows: number, columns: number, value: bigint): Tensor {
  return new Tensor('int64', new BigInt64Array(rows * columns).fill(value), [rows, columns])
}

/** Each token's place among the tokens of its row, padding left out, for the last `sequence` columns of the mask. */
function positions(mask: Tensor, sequence: number): Tensor {
  const [batch, total] = mask.dims as [number, number]
  const from = mask.data as BigInt64Array
  const result = new BigInt64Array(batch * sequence)
  for (let row = 0; row < batch; row++) {
    let seen = 0n
    for (let column = 0; column < total; column++) {
      seen += from[row * total + column]!
      const at = column - (total - sequence)
      if (at >= 0) result[row * sequence + at] = seen > 0n ? seen - 1n : 0n
    }
  }
  return new Tensor('int64', result, [batch, sequence])
}

function dimsOf(index: GraphIndex, name: string): (number | undefined)[] | undefined {
  const type = index.types.get(name)?.value
  if (type?.case !== 'tensorType') return undefined
  return type.value.shape?.dim.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : undefined))
}

function emptyCache(index: GraphIndex, name: string, batch: number): Tensor {
  const dims = dimsOf(index, name)
  return new Tensor('float32', new Float32Array(0), [batch, dims?.[1] ?? 1, 0, dims?.[3] ?? 1])
}

function checkFeed(index: GraphIndex, name: string, tensor: Tensor | undefined): void {
  if (!tensor) throw bad(`the input ${name} is missing`)
  const type = tensorType(elementType(index, name))
  if (tensor.type !== type) throw bad(`the input ${name} is of ${tensor.type}, expected ${type}`)
  const dims = dimsOf(index, name)
  const fits = !dims || (dims.length === tensor.dims.length && dims.every((dim, axis) => dim === undefined || dim === tensor.dims[axis]))
  if (!fits) throw bad(`the input ${name} has the shape [${tensor.dims}], expected [${dims?.map((dim) => dim ?? '?')}]`)
}

function bad(why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot run the model: ${why}`)
}
