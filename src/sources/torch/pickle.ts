import { Ended, Machine, type Surroundings } from './machine.js'
import { checkNesting } from './nesting.js'
import { nameOfKind, OPAQUE, type Value } from './values.js'

type Operation = (machine: Machine) => void

const OPERATIONS: Partial<Record<number, Operation>> = {
  // protocol and frames, which only say how much can be read at once
  128: (m) => {
    const protocol = m.byte()
    if (protocol < 2 || protocol > 5) throw m.bad(`its protocol is ${protocol}, expected 2 to 5`)
  },
  149: (m) => void m.raw(8),
  // plain values
  78: (m) => m.push(null),
  136: (m) => m.push(true),
  137: (m) => m.push(false),
  75: (m) => m.push(m.byte()),
  77: (m) => m.push(m.uint16()),
  74: (m) => m.push(m.int32()),
  138: (m) => m.push(m.integer(m.byte())),
  71: (m) => m.push(m.float()),
  // texts and bytes: unicode, those of Python 2, bytes
  88: (m) => m.make(m.text(m.uint32())),
  140: (m) => m.make(m.text(m.byte())),
  84: (m) => m.make(m.string(m.uint32())),
  85: (m) => m.make(m.string(m.byte())),
  66: (m) => m.make(m.raw(m.uint32()).slice()),
  67: (m) => m.make(m.raw(m.byte()).slice()),
  // tuples, lists, dictionaries, sets
  40: (m) => m.mark(),
  41: (m) => m.tuple(0),
  133: (m) => m.tuple(1),
  134: (m) => m.tuple(2),
  135: (m) => m.tuple(3),
  116: (m) => m.make({ kind: 'tuple', items: m.toMark() }),
  93: (m) => m.make({ kind: 'list', items: undefined }),
  97: (m) => m.append([m.pop()]),
  101: (m) => m.append(m.toMark()),
  125: (m) => m.make({ kind: 'dict', entries: undefined }),
  115: (m) => {
    const value = m.pop()
    m.setItems([m.pop(), value])
  },
  117: (m) => m.setItems(m.toMark()),
  143: (m) => m.push(OPAQUE),
  144: (m) => {
    m.toMark()
    if (m.top() !== OPAQUE) throw m.bad(`it adds to ${nameOfKind(m.top())}`)
  },
  // the memo
  113: (m) => m.put(m.byte()),
  114: (m) => m.put(m.uint32()),
  148: (m) => m.memoize(),
  104: (m) => m.get(m.byte()),
  106: (m) => m.get(m.uint32()),
  // what names code
  99: (m) => m.global(m.line(), m.line()),
  147: (m) => {
    const name = m.pop()
    m.global(m.pop(), name)
  },
  82: (m) => m.reduce(),
  129: (m) => m.create(),
  98: (m) => m.build(),
  81: (m) => m.persistent(),
}

const STOP = 46
const PROTOCOL = 128

/**
 * Records what a pickle says: the opcodes that state dicts need and no others. `end` is where the next byte after it is;
 * undefined where the bytes end first. The value holds no cycles.
 * Format: https://github.com/python/cpython/blob/main/Lib/pickletools.py
 * @throws AssetError 'BAD_INPUT' for whatever is not allowed or makes no sense; 'LIMIT'
 */
export function readPickle(
  bytes: Uint8Array,
  start: number,
  what: string,
  surroundings: Surroundings,
): { readonly value: Value; readonly end: number } | undefined {
  const machine = new Machine(bytes, start, what, surroundings)
  try {
    if (start < bytes.byteLength && bytes[start] !== PROTOCOL) throw machine.bad('it does not start with a protocol')
    for (let code = machine.byte(); code !== STOP; code = machine.byte()) {
      const operation = OPERATIONS[code]
      if (!operation)
        throw machine.bad(`the opcode 0x${code.toString(16).padStart(2, '0')} is not on the list of what is read`, machine.at - 1)
      operation(machine)
    }
  } catch (error) {
    if (error instanceof Ended) return undefined
    throw error
  }
  const value = machine.result()
  checkNesting(value, what)
  return { value, end: machine.at }
}
