import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { quoted } from '../../graph/names.js'
import { bad, type Global, is, nameOfKind, OPAQUE, type Recorded, type Value } from './values.js'

/** What a pickle may refer to. Both throw for whatever is not allowed. */
export interface Surroundings {
  global(name: string): Global
  persistent(id: Value): Recorded
}

/** Thrown where the bytes end before the pickle does; there may be more of them. */
export class Ended extends Error {}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Stack, marks and memo of a pickle, and what its opcodes do to them. Nothing is ever called: what would be is recorded.
 * Every method throws AssetError 'BAD_INPUT' for what makes no sense, 'LIMIT' for too much, and {@link Ended}.
 */
export class Machine {
  readonly #view: DataView
  readonly #stack: Value[] = []
  readonly #marks: number[] = []
  readonly #memo = new Map<number, Value>()
  #values = 0
  #objects = 0

  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
    private readonly what: string,
    private readonly surroundings: Surroundings,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** The only value that is left. */
  result(): Value {
    if (this.#stack.length !== 1 || this.#marks.length > 0) throw this.bad(`it ends with ${this.#stack.length} values instead of one`)
    return this.#stack[0]!
  }

  bad(why: string, at = this.at): AssetError {
    return bad(this.what, `at byte ${at} of its pickle, ${why}`)
  }

  private limit(why: string): AssetError {
    return new AssetError('LIMIT', `Cannot read ${this.what}: its pickle ${why}`)
  }

  // What follows an opcode.

  private need(count: number): number {
    if (count > this.bytes.byteLength - this.at) throw new Ended()
    const at = this.at
    this.at += count
    return at
  }

  byte(): number {
    return this.bytes[this.need(1)]!
  }

  uint16(): number {
    return this.#view.getUint16(this.need(2), true)
  }

  int32(): number {
    return this.#view.getInt32(this.need(4), true)
  }

  uint32(): number {
    return this.#view.getUint32(this.need(4), true)
  }

  float(): number {
    return this.#view.getFloat64(this.need(8), false)
  }

  raw(length: number): Uint8Array {
    const at = this.need(length)
    return this.bytes.subarray(at, at + length)
  }

  text(length: number): string {
    const raw = this.raw(length)
    try {
      return UTF8.decode(raw)
    } catch {
      throw this.bad('a text is not valid UTF-8')
    }
  }

  /** A text of Python 2, which may as well be bytes. */
  string(length: number): string | Uint8Array {
    const raw = this.raw(length)
    try {
      return UTF8.decode(raw)
    } catch {
      return raw.slice()
    }
  }

  line(): string {
    const end = this.bytes.subarray(this.at, this.at + LIMITS.pickleGlobal).indexOf(0x0a)
    if (end < 0 && this.bytes.byteLength - this.at < LIMITS.pickleGlobal) throw new Ended()
    if (end < 0) throw this.bad(`a name is longer than ${LIMITS.pickleGlobal}`)
    const text = this.text(end)
    this.at += 1
    return text
  }

  integer(length: number): number | bigint {
    if (length > LIMITS.pickleInteger) throw this.limit(`holds a number of ${length} bytes, the limit is ${LIMITS.pickleInteger}`)
    let value = 0n
    for (const byte of this.raw(length).toReversed()) value = (value << 8n) | BigInt(byte)
    value = BigInt.asIntN(length * 8, value)
    return Number.isSafeInteger(Number(value)) ? Number(value) : value
  }

  // The stack and the memo.

  push(value: Value): void {
    if (++this.#values > LIMITS.pickleValues) throw this.limit(`makes more than ${LIMITS.pickleValues} values`)
    this.#stack.push(value)
  }

  /** Pushes what memory was just made for. */
  make(value: Recorded | Uint8Array | string): void {
    if (++this.#objects > LIMITS.pickleObjects) throw this.limit(`makes more than ${LIMITS.pickleObjects} objects`)
    this.push(value)
  }

  mark(): void {
    if (++this.#values > LIMITS.pickleValues) throw this.limit(`makes more than ${LIMITS.pickleValues} values`)
    this.#marks.push(this.#stack.length)
  }

  pop(): Value {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.bad('a value is missing')
    return this.#stack.pop()!
  }

  top(): Value {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.bad('a value is missing')
    return this.#stack.at(-1)!
  }

  toMark(): Value[] {
    const mark = this.#marks.pop()
    if (mark === undefined) throw this.bad('a mark is missing')
    return this.#stack.splice(mark)
  }

  tuple(count: number): void {
    const items: Value[] = []
    for (let i = 0; i < count; i++) items.unshift(this.pop())
    this.make({ kind: 'tuple', items })
  }

  put(index: number): void {
    this.#memo.set(index, this.top())
    if (this.#memo.size > LIMITS.pickleMemo) throw this.limit(`keeps more than ${LIMITS.pickleMemo} values`)
  }

  memoize(): void {
    this.put(this.#memo.size)
  }

  get(index: number): void {
    const value = this.#memo.get(index)
    if (value === undefined) throw this.bad(`value ${index} was never kept`)
    this.push(value)
  }

  // Lists, dictionaries and all that names code.

  append(items: readonly Value[]): void {
    const list = this.top()
    if (!is(list, 'list')) throw this.bad(`it appends to ${nameOfKind(list)}`)
    list.items ??= []
    for (const item of items) list.items.push(item)
  }

  setItems(items: readonly Value[]): void {
    const dict = this.top()
    if (!is(dict, 'dict')) throw this.bad(`it sets an item of ${nameOfKind(dict)}`)
    if (items.length % 2 !== 0) throw this.bad('a key has no value')
    dict.entries ??= new Map()
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i]!
      if (dict.entries.has(key)) throw this.bad(`the key ${quoted(String(key))} is there twice`)
      dict.entries.set(key, items[i + 1]!)
    }
  }

  global(module: Value, name: Value): void {
    if (typeof module !== 'string' || typeof name !== 'string') throw this.bad('the name of a global is no text')
    if (module.length + name.length > LIMITS.pickleGlobal) throw this.bad(`a name is longer than ${LIMITS.pickleGlobal}`)
    this.push(this.surroundings.global(`${module}.${name}`))
  }

  reduce(): void {
    const [args, callable] = [this.pop(), this.pop()]
    if (!is(args, 'tuple')) throw this.bad(`it calls with ${nameOfKind(args)} instead of a tuple`)
    if (!is(callable, 'global') || !callable.reduce) throw this.bad(`it calls ${nameOfKind(callable)}`)
    const value = callable.reduce(args.items, this.what)
    if (typeof value === 'object' && value !== null) this.make(value)
    else this.push(value)
  }

  create(): void {
    const [args, type] = [this.pop(), this.pop()]
    if (!is(type, 'global') || !type.isClass) throw this.bad(`it makes an object of ${nameOfKind(type)}`)
    if (!is(args, 'tuple') || args.items.length > 0) throw this.bad('it makes an object with arguments')
    this.make({ kind: 'instance', name: type.name, state: undefined })
  }

  build(): void {
    const state = this.pop()
    const target = this.top()
    // What an OrderedDict carries beside its items (torch puts versions there) is of no use here.
    if (target === OPAQUE || is(target, 'dict')) return
    if (!is(target, 'instance') || target.state !== undefined) throw this.bad(`it sets the state of ${nameOfKind(target)}`)
    target.state = state
  }

  persistent(): void {
    this.make(this.surroundings.persistent(this.pop()))
  }
}
