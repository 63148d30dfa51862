import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.js'
import { surroundings } from '../../src/sources/torch/globals.js'
import { readPickle } from '../../src/sources/torch/pickle.js'
import { temporary } from '../sources/files.js'
import { archive, dict, floats, op, pickle, stacked, tensor, type View } from '../sources/torch-files.js'
import { refusal } from './refusal.js'

const square: View = { elements: 4, shape: [2, 2], strides: [2, 1] }
const state = (view: Partial<View> = {}) => dict({ w: tensor({ ...square, ...view }) })
const storages = { '0': floats(4) }
const inZip = (root: Uint8Array) => archive(root, storages)
const inStack = (root: Uint8Array) => stacked(root, { '0': { elements: 4, bytes: floats(4) } })
const call = (name: string, ...args: Buffer[]) => Buffer.concat([op.global(name), op.mark, ...args, op.tuple, op.reduce])
/** Nested `depth` times by `open`, closed the same number of times. */
const nested = (depth: number, open: Buffer, close: Buffer) => Buffer.concat([...Array(depth).fill(open), ...Array(depth).fill(close)])

type Case = [number: string, title: string, root: Uint8Array, expected: RegExp]

const cases: Case[] = [
  ...[
    'os.system',
    'posix.system',
    'builtins.eval',
    '__builtin__.eval',
    'builtins.exec',
    'builtins.getattr',
    'torch.serialization.load',
  ].map(
    (name): Case => [
      '14',
      `calls ${name}`,
      pickle(call(name, op.text('touch ran'))),
      /BAD_INPUT .* names "\S+", which is not on the short list/,
    ],
  ),
  ...[
    'torch.load',
    'torch.hub.load',
    'torch._utils.__class__',
    'torch.storage._load_from_bytes',
    'subprocess.Popen',
    'numpy.load',
    'pip.main',
  ].map((name): Case => ['14', `names ${name}`, pickle(dict({ w: tensor(square), x: op.global(name) })), /which is not on the short list/]),
  ['14', 'names what only TorchScript may', pickle(op.global('__torch__.Net'), op.emptyTuple, op.create), /not on the short list/],
  ['14', 'names nothing', pickle(op.global('.')), /not on the short list/],
  ['14', 'names what is longer than any name', pickle(Buffer.from(`c${'a'.repeat(600)}\nb\n`)), /a name is longer than 512/],
  ['14', 'names by a stack what is not allowed', pickle(op.text('os'), op.text('system'), Buffer.from([0x93])), /not on the short list/],
  ['14', 'names by a number', pickle(op.int(1), op.text('system'), Buffer.from([0x93])), /the name of a global is no text/],
  ...Object.entries({
    INST: 'i',
    OBJ: 'o',
    EXT1: '\x82',
    NEWOBJ_EX: '\x92',
    PERSID: 'P',
    DUP: '2',
    POP: '0',
    STRING: 'S',
    LONG4: '\x8b',
    BYTEARRAY8: '\x96',
  }).map(
    ([name, code]): Case => [
      '15',
      `has the opcode ${name}`,
      pickle(op.emptyDict, Buffer.from(`${code}os\nsystem\n`, 'latin1')),
      /BAD_INPUT .*opcode 0x.. is not on the list/,
    ],
  ),
  ['15', 'has no protocol', Buffer.from('N.'), /does not start with a protocol/],
  ['15', 'has a protocol of the future', Buffer.from([0x80, 9, 0x4e, 0x2e]), /its protocol is 9/],
  ['16', 'calls a text', pickle(op.text('os.system'), op.emptyTuple, op.reduce), /it calls a string/],
  ['16', 'calls a type of storage', pickle(call('torch.FloatStorage')), /it calls torch\.FloatStorage/],
  [
    '16',
    'calls with a list',
    pickle(op.global('collections.OrderedDict'), op.emptyList, op.reduce),
    /calls with a list instead of a tuple/,
  ],
  [
    '16',
    'makes an object of a function',
    pickle(op.global('collections.OrderedDict'), op.emptyTuple, op.create),
    /makes an object of collections\.OrderedDict/,
  ],
  ['16', 'sets the state of a tensor', pickle(tensor(square), op.emptyDict, op.build), /sets the state of a tensor/],
  ['16', 'sets the state of a list', pickle(op.emptyList, op.emptyDict, op.build), /sets the state of a list/],
  ['16', 'sets an item of a list', pickle(op.emptyList, op.text('a'), op.none, op.setItem), /sets an item of a list/],
  ['16', 'sets an item of a tensor', pickle(tensor(square), op.mark, op.text('a'), op.none, op.setItems), /sets an item of a tensor/],
  ['16', 'appends to a dictionary', pickle(op.emptyDict, op.none, op.append), /appends to a dict/],
  ['16', 'adds to a list as if it were a set', pickle(op.emptyList, op.mark, Buffer.from([0x90])), /adds to a list/],
  ['16', 'refers to what is no storage', pickle(op.text('/etc/passwd'), op.persistent), /refers to a string that is not a storage/],
  [
    '16',
    'rebuilds a tensor by what is not for that',
    pickle(
      call(
        'torch._tensor._rebuild_from_type_v2',
        op.global('collections.OrderedDict'),
        op.global('torch.Tensor'),
        op.emptyTuple,
        op.emptyDict,
      ),
    ),
    /tensor with attributes/,
  ],
  ['17', 'has nothing to set', pickle(op.setItem), /a value is missing/],
  ['17', 'takes what was before a mark', pickle(op.emptyDict, op.mark, op.text('a'), op.setItem), /a value is missing/],
  ['17', 'has no mark', pickle(op.emptyDict, op.setItems), /a mark is missing/],
  ['17', 'has a key without a value', pickle(op.emptyDict, op.mark, op.none, op.setItems), /a key has no value/],
  ['17', 'gets what was never kept', pickle(op.get(7)), /value 7 was never kept/],
  ['17', 'keeps nothing', pickle(op.put(0)), /a value is missing/],
  ['17', 'ends with two values', pickle(op.none, state()), /ends with 2 values instead of one/],
  ['17', 'ends with none', pickle(), /ends with 0 values/],
  ['17', 'ends with an open mark', pickle(state(), op.mark), /ends with 1 values/],
  ['17', 'has no end', Buffer.concat([op.proto, state()]), /ends before it is complete|ends with/],
  ['17', 'has a text longer than it', pickle(Buffer.from('X\xff\xff\xff\x7fa', 'latin1')), /ends? before (it|they)|more than/],
  ['17', 'has a text that is not UTF-8', pickle(Buffer.from('X\x01\x00\x00\x00\xff', 'latin1')), /not valid UTF-8/],
  [
    '17',
    'has a key twice',
    pickle(op.emptyDict, op.text('a'), op.none, op.setItem, op.text('a'), op.none, op.setItem),
    /"a" is there twice/,
  ],
  ['18', 'has a list that holds itself', pickle(op.emptyList, op.put(0), op.get(0), op.append), /holds itself/],
  [
    '18',
    'has a dictionary that holds itself, deep in what is of no use',
    pickle(op.emptyDict, op.put(0), op.text('a'), op.emptyList, op.get(0), op.append, op.setItem),
    /holds itself/,
  ],
  [
    '18',
    'is nested too deep',
    pickle(nested(LIMITS.pickleDepth + 1, op.emptyList, op.append).subarray(0, -1)),
    /LIMIT .*nested deeper than 200/,
  ],
  ['18', 'has a number without end', pickle(Buffer.from('8affff', 'hex'), Buffer.alloc(255)), /LIMIT .*a number of 255 bytes/],
  [
    '20',
    'has an offset beyond its storage',
    pickle(state({ offset: 1 })),
    /offset 1, shape \[2,2\] and strides \[2,1\], beyond its 4 elements/,
  ],
  ['20', 'has a stride beyond its storage', pickle(state({ strides: [3, 1] })), /beyond its 4 elements/],
  ['20', 'has a stride that overflows', pickle(state({ strides: [2 ** 53 - 1, 2 ** 53 - 1] })), /beyond its 4 elements/],
  ['20', 'has a negative stride', pickle(state({ strides: [-2, 1] })), /no valid offset, shape and strides/],
  ['20', 'has a negative offset', pickle(state({ offset: -1 })), /no valid offset/],
  ['20', 'has a negative dimension', pickle(state({ shape: [-2, -2] })), /no valid offset, shape/],
  ['20', 'has fewer strides than dimensions', pickle(state({ strides: [1] })), /no valid offset, shape and strides/],
  ['20', 'has too many dimensions', pickle(state({ shape: Array(40).fill(1), strides: Array(40).fill(1) })), /no valid offset, shape/],
  ['20', 'has a shape that overflows', pickle(state({ shape: [2 ** 40, 2 ** 40], strides: [0, 0] })), /impossible shape/],
  ['20', 'has a storage of a negative size', pickle(state({ elements: -4 })), /no valid size/],
  [
    '20',
    'has a storage that says it is larger than it is',
    pickle(state({ elements: 5 })),
    /should have 20 bytes, it has 16|its tensors say 5/,
  ],
  [
    '20',
    'has a storage of two sizes',
    pickle(dict({ a: tensor(square), b: tensor({ ...square, elements: 3, shape: [1], strides: [1] }) })),
    /has two sizes/,
  ],
  ['20', 'repeats its bytes to fill any disk', pickle(state({ shape: [2 ** 40], strides: [0] })), /LIMIT .*share or repeat their bytes/],
]

describe.each([
  ['in a ZIP archive', inZip],
  ['stacked as before 1.6', inStack],
])('a hostile pickle %s', (_, wrap) => {
  it.each(cases)('%s: one that %s is refused', async (_, __, root, expected) => {
    expect(await refusal(wrap(root))).toMatch(expected)
  })

  it('18: values kept and used again a thousand million times are looked at once', async () => {
    const doubled = Array.from({ length: 30 }, (_, i) => Buffer.concat([op.mark, op.get(i), op.get(i), op.tuple, op.put(i + 1)]))
    // The values before stay on the stack: they are collected into a list at the end.
    const root = pickle(op.mark, op.emptyTuple, op.put(0), ...doubled, op.tuple)
    expect(await refusal(wrap(root))).toMatch(/BAD_INPUT .*holds a tuple instead of a state dict/)
  })

  it('19: what follows the pickle is refused, and never runs', async () => {
    await using folder = await temporary()
    const ran = `${folder.path}/ran`
    const payload = pickle(call('os.system', op.text(`touch ${ran}`)))
    expect(await refusal(wrap(Buffer.concat([pickle(state()), payload])))).toMatch(
      /^BAD_INPUT .*(bytes follow its pickle|not that of its tensors|short list)/,
    )
    expect(await refusal(Buffer.concat([inStack(pickle(dict({ w: tensor(square, true) }))), payload]))).toMatch(
      /bytes follow its last storage/,
    )
    expect(existsSync(ran)).toBe(false)
  })

  it('18: a machine that is fed lists without end stops at its limit, with bounded memory', async () => {
    const script = `
      const { writeFile } = await import('node:fs/promises')
      const { fragment } = await import(${JSON.stringify(new URL('../../src/api/index.js', import.meta.url).href)})
      const { archive, stacked } = await import(${JSON.stringify(new URL('../sources/torch-files.js', import.meta.url).href)})
      const root = Buffer.alloc(64 * 1024 * 1024, ']')
      root.set([0x80, 2])
      const bytes = ${wrap === inZip} ? archive(root, {}) : stacked(root, {})
      await writeFile(process.argv[1], bytes)
      const before = process.resourceUsage().maxRSS
      const error = await fragment(process.argv[1], { out: process.argv[1] + '-out' }).catch((error) => error)
      console.log(error.code, process.resourceUsage().maxRSS - before)`
    await using folder = await temporary()
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, `${folder.path}/w`])
    const [code, kilobytes] = stdout.trim().split(' ')
    expect(code).toBe('LIMIT')
    expect(Number(kilobytes)).toBeLessThan(600_000)
  })
})

describe('a file stacked as before 1.6', () => {
  const root = pickle(dict({ w: tensor(square, true) }))
  const whole = inStack(root)

  it('23: is read', async () => {
    expect(await refusal(whole)).toMatch(/^it was taken as bafy/)
  })

  it('17, 23: cut anywhere is refused', async () => {
    for (let length = 1; length < whole.byteLength; length += 3)
      expect(await refusal(whole.subarray(0, length))).toMatch(/^(BAD_INPUT|CORRUPT) /)
  })

  it('20, 23: with storages that are not those of its tensors is refused', async () => {
    const four = { elements: 4, bytes: floats(4) }
    expect(await refusal(stacked(root, { '0': { elements: 3, bytes: floats(3) } }))).toMatch(/has 3 elements, its tensors say 4/)
    expect(await refusal(stacked(root, { '0': { elements: -4, bytes: floats(4) } }))).toMatch(/has -4 elements/)
    expect(await refusal(stacked(root, { '1': four }))).toMatch(/not that of its tensors/)
    expect(await refusal(stacked(root, {}))).toMatch(/MISSING .*storage "0" is missing/)
    const twice = pickle(op.emptyList, op.mark, op.text('0'), op.text('0'), op.appends)
    const once = pickle(op.emptyList, op.mark, op.text('0'), op.appends)
    const at = whole.indexOf(once)
    expect(await refusal(Buffer.concat([whole.subarray(0, at), twice, whole.subarray(at + once.byteLength)]))).toMatch(
      /not that of its tensors/,
    )
  })

  it('23: of another byte order, of another version, or no torch.save at all is refused', async () => {
    const little = Buffer.concat([op.text('little_endian'), op.true])
    const at = whole.indexOf(little) + little.byteLength - 1
    expect(await refusal(Buffer.from(whole).fill(0x89, at, at + 1))).toMatch(/UNSUPPORTED .*byte order/)
    const version = whole.indexOf(op.int(1001))
    expect(await refusal(Buffer.from(whole).fill(7, version + 2, version + 3))).toMatch(/its version is not 1001/)
    expect(await refusal(pickle(dict({ w: op.none })))).toMatch(/a pickle, but not one of torch\.save/)
  })

  it('23: a tar is refused with what to do', async () => {
    const tar = Buffer.alloc(1024)
    tar.write('sys_info')
    tar.write('ustar  ', 257)
    expect(await refusal(tar)).toMatch(/UNSUPPORTED .*it is a tar, as PyTorch before .* load and save it with a newer one/)
  })
})

describe('a recorded value', () => {
  it('is the one that Python makes of the same opcodes', () => {
    const of = (...parts: Uint8Array[]) => readPickle(pickle(...parts), 0, 'x', surroundings('x', false))?.value
    expect(of(Buffer.from('4aFEFFFFFF'.toLowerCase(), 'hex'))).toBe(-2)
    expect(of(Buffer.from('8a0180', 'hex'))).toBe(-128)
    expect(of(Buffer.from('8a00', 'hex'))).toBe(0)
    expect(of(Buffer.from('8a0a6cfc9c46f9206aa85019', 'hex'))).toBe(0x1950a86a20f9469cfc6cn)
    expect(of(Buffer.from('473ff8000000000000', 'hex'))).toBe(1.5)
    expect(of(Buffer.from('5502c3a9', 'hex'))).toBe('é')
    expect([...(of(Buffer.from('5501ff', 'hex')) as Uint8Array)]).toEqual([255])
    expect(of(op.int(1), op.int(2), Buffer.from([0x86]))).toEqual({ kind: 'tuple', items: [1, 2] })
  })
})
