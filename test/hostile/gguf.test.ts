import { open, truncate } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../src/sources/open.js'
import { temporary } from '../sources/files.js'
import { type FileParts, floats, gguf, META, TYPES, text, u32, u64, value } from '../sources/gguf-files.js'
import { refusal } from './refusal.js'

const one = { name: 'a.weight', dims: [4], data: floats([1, 2, 3, 4]) }
const parts = (changes: FileParts): FileParts => ({ keys: { 'general.architecture': value.text('none') }, tensors: [one], ...changes })
const says = async (changes: FileParts) => refusal(gguf(parts(changes)))
const MINUS_ONE = 2n ** 64n - 1n

describe('a GGUF file', () => {
  it('that is right is taken', async () => {
    expect(await says({})).toMatch(/^it was taken as/)
    expect(await says({ version: 2 })).toMatch(/^it was taken as/)
  })

  it.each([
    ['no version that is known', { version: 4 }, /^BAD_INPUT .*GGUF version 4/],
    ['version 0', { version: 0 }, /^BAD_INPUT .*GGUF version 0/],
    ['version 1', { version: 1 }, /^UNSUPPORTED .*GGUF version 1.*convert the model anew/],
    ['numbers that are big-endian', { version: 0x03000000 }, /^UNSUPPORTED .*big-endian.*gguf_convert_endian/],
  ] satisfies [string, FileParts, RegExp][])('24: with %s', async (_, changes, message) => {
    expect(await says(changes)).toMatch(message)
  })

  it('24: with another magic, or nothing after it', async () => {
    expect(await refusal(Buffer.from('GGUFF'))).toMatch(/^BAD_INPUT .*truncated/)
    const wrong = gguf(parts({}))
    wrong.write('GGML')
    expect(await refusal(wrong)).toMatch(/^BAD_INPUT .*neither safetensors, GGUF, ONNX nor/)
  })

  it.each([
    ['tensors', { tensorCount: MINUS_ONE }, /^LIMIT .*claims 18446744073709551615 tensors/],
    ['keys', { keyCount: MINUS_ONE }, /^LIMIT .*claims 18446744073709551615 keys/],
    ['more tensors than its bytes could be', { tensorCount: 100_000 }, /^BAD_INPUT .*claims 100000 tensors, more than fit/],
    ['more keys than its bytes could be', { keyCount: 60_000 }, /^BAD_INPUT .*claims 60000 keys, more than fit/],
  ] satisfies [string, FileParts, RegExp][])('25: of -1 %s', async (_, changes, message) => {
    expect(await says(changes)).toMatch(message)
  })

  const keyed = (bytes: Uint8Array): FileParts => ({ keys: [['k', bytes]] })
  it.each([
    ['an empty key', { keys: { '': value.u32(1) } }, /^BAD_INPUT .*key without a name/],
    [
      'a key twice',
      {
        keys: [
          ['a', value.u32(1)],
          ['a', value.u32(1)],
        ],
      },
      /^BAD_INPUT .*the key a twice/,
    ],
    ['a key of 70,000 bytes', { keys: { ['k'.repeat(70_000)]: value.u32(1) } }, /^LIMIT .*70000 bytes of a key/],

    ['a value of an unknown type', keyed(u32(13)), /^BAD_INPUT .*key k has the unknown type 13/],
    ['a truth that is 2', keyed(value.bool(2)), /^BAD_INPUT .*neither true nor false/],
    ['a text of -1 bytes', keyed(Buffer.concat([u32(META.text), u64(MINUS_ONE)])), /^LIMIT .*18446744073709551615 bytes/],
    ['a text that is not UTF-8', keyed(Buffer.concat([u32(META.text), u64(2), Buffer.from([0xc3, 0x28])])), /^BAD_INPUT .*not valid UTF-8/],
    ['a list in a list', keyed(value.list(META.list, [])), /^BAD_INPUT .*list of lists/],
    ['a list of -1', keyed(value.list(META.u8, [], MINUS_ONE)), /^LIMIT .*elements of k/],
    ['a list longer than the file', keyed(value.list(META.u64, [], 5_000_000)), /^BAD_INPUT .*5000000 elements of k, more than fit/],
    ['a list of texts, one of -1', keyed(value.list(META.text, [u64(MINUS_ONE)])), /^LIMIT .*bytes of k/],
    ['a list of an unknown type', keyed(value.list(77, [])), /^BAD_INPUT .*unknown type 77/],
  ] satisfies [string, FileParts, RegExp][])('26: with %s', async (_, changes, message) => {
    expect(await says(changes)).toMatch(message)
  })

  it('26: with a key of -1 bytes', async () => {
    const bytes = gguf(parts({ keys: [], keyCount: 1, tensors: [], tensorCount: 0 }))
    expect(await refusal(Buffer.concat([bytes.subarray(0, 24), u64(MINUS_ONE), Buffer.alloc(64)]))).toMatch(/^LIMIT .*bytes of a key/)
  })

  it.each([
    ['0', value.u32(0)],
    ['13', value.u32(13)],
    ['a text', value.text('32')],
    ['of 64 bits', Buffer.concat([u32(META.u64), u64(32)])],
    ['a list', value.i32s([32])],
  ])('27: aligned to %s', async (_, alignment) => {
    expect(await says({ keys: { 'general.alignment': alignment } })).toMatch(/^BAD_INPUT .*general\.alignment is no power of two/)
  })

  it('27: aligned to 2 GiB, or to 8', async () => {
    expect(await says({ keys: { 'general.alignment': value.u32(2 ** 31) } })).toMatch(/^BAD_INPUT .*truncated or damaged/)
    expect(await says({ keys: { 'general.alignment': value.u32(8) }, alignment: 8 })).toMatch(/^it was taken as/)
  })

  const tensor = (changes: Partial<(typeof one & { type: number; offset: number | bigint }) | object>): FileParts => ({
    tensors: [{ ...one, ...changes }],
  })
  it.each([
    ['a tensor twice', { tensors: [one, one] }, /^BAD_INPUT .*tensor a\.weight twice/],
    ['a name of 65 bytes', tensor({ name: 'n'.repeat(65) }), /^LIMIT .*65 bytes of the name of a tensor/],
    ['five dimensions', tensor({ dims: [4, 1, 1, 1, 1] }), /^BAD_INPUT .*5 dimensions/],
    ['a dimension of 2^63', tensor({ dims: [2n ** 63n] }), /^BAD_INPUT .*impossible shape \[9223372036854775808\]/],
    ['dimensions whose product wraps around', tensor({ dims: [2n ** 32n, 2n ** 32n] }), /^BAD_INPUT .*impossible shape/],
    ['rows that are no whole blocks', tensor({ dims: [48], type: TYPES.Q4_0 }), /^BAD_INPUT .*Q4_0 has the impossible shape \[48\]/],
    ['a type that is not read', tensor({ dims: [256], type: 16 }), /^UNSUPPORTED .*type IQ2_XXS.*get the model in one of Q4_0/],
    ['a type that nobody knows', tensor({ type: 4_000_000_000 }), /^UNSUPPORTED .*number 4000000000/],
  ] satisfies [string, FileParts, RegExp][])('28: with %s', async (_, changes, message) => {
    expect(await says(changes)).toMatch(message)
  })

  it.each([
    ['ends beyond the file', tensor({ dims: [400] }), /^BAD_INPUT .*a\.weight ends at byte \d+, the file at \d+/],
    ['begins beyond the file', tensor({ offset: 1 << 20 }), /^BAD_INPUT .*begins at 1048576, beyond the file/],
    ['begins where 64 bits wrap around', tensor({ offset: MINUS_ONE - 31n }), /^BAD_INPUT .*beyond the file/],
    ['begins between two multiples', tensor({ offset: 4 }), /^BAD_INPUT .*begins at 4, which is no multiple of 32/],
    ['lies over another', { tensors: [one, { ...one, name: 'b', offset: 0 }] }, /^BAD_INPUT .*overlaps another/],
  ] satisfies [string, FileParts, RegExp][])('29: with a tensor that %s', async (_, changes, message) => {
    expect(await says(changes)).toMatch(message)
  })

  it('30: with tensors that only together are too large', async () => {
    const large = { dims: [2n ** 50n], type: TYPES.F32 }
    const many = Array.from({ length: 5000 }, (_, i) => ({ name: `t${i}`, ...large, offset: 0 }))
    expect(await says({ tensors: many })).toMatch(/^BAD_INPUT .*the file at/)
    expect(await says({ tensors: [{ name: 'a', dims: [2n ** 31n, 2n ** 20n], type: TYPES.Q8_0 }] })).toMatch(
      /^BAD_INPUT .*impossible shape/,
    )
  })

  it('of which only a part has come', async () => {
    const whole = gguf(parts({}))
    // The last 16 bytes are only there to fill up.
    for (let length = 4; length < whole.byteLength - 16; length += 1)
      expect(await refusal(whole.subarray(0, length))).toMatch(/^(BAD_INPUT|LIMIT) .*(truncated|more than fit|damaged)/)
  })

  it('whose header is longer than what is read at once', async () => {
    const long = 'x'.repeat(3_000_000)
    expect(await says({ keys: { a: value.text(long), b: value.texts(['y', long]) } })).toMatch(/^it was taken as/)
  })

  it('whose names are no paths and no keys of an object', async () => {
    const names = ['../../x.weight', '__proto__.weight', 'constructor', 'blk.0.constructor.weight', '/etc/passwd']
    const tensors = names.map((name) => ({ ...one, name }))
    const keys = { 'general.architecture': value.text('llama') }
    expect(await says({ tensors, keys })).toMatch(/^it was taken as/)
    expect(await says({ tensors, keys: { 'general.architecture': value.text('__proto__') } })).toMatch(/^it was taken as/)
  })

  it('with two tensors that transformers gives one name', async () => {
    const tensors = ['blk.0.attn_v.weight', 'model.layers.0.self_attn.v_proj.weight'].map((name) => ({ ...one, name }))
    expect(await says({ keys: { 'general.architecture': value.text('llama') }, tensors })).toMatch(/^BAD_INPUT .*which it has already/)
  })

  it('26: whose vocabulary would take all memory or time', async () => {
    const vocabulary = (tokens: readonly string[]) => ({
      'general.architecture': value.text('llama'),
      'tokenizer.ggml.model': value.text('llama'),
      'tokenizer.ggml.tokens': value.texts(tokens),
      'tokenizer.ggml.scores': value.f32s(tokens.map(() => 0)),
    })
    const many = value.list(META.text, [Buffer.alloc(8 * 1_000_001)], 1_000_001)
    expect(await says({ keys: { ...vocabulary([]), 'tokenizer.ggml.tokens': many } })).toMatch(
      /^LIMIT .*1000001 texts, the limit is 1000000/,
    )
    const nested = Array.from({ length: 3000 }, (_, i) => 'a'.repeat(i + 1))
    expect(await says({ keys: vocabulary(nested) })).toMatch(/^LIMIT .*tokens of its tokenizer are too long/)
    expect(await says({ keys: vocabulary(['a'.repeat(1_000_000), 'b']) })).toMatch(/^LIMIT .*tokens of its tokenizer are too long/)
  })

  it('of 20 GB is opened by its header alone', async () => {
    await using folder = await temporary()
    const bytes = 20 * 2 ** 30
    const tensors = [{ name: 'a.weight', dims: [4096, bytes / 4096 / 2], type: TYPES.F16 }]
    const header = gguf(parts({ tensors }))
    const path = await folder.write('large.gguf', header)
    await truncate(path, header.byteLength + bytes)
    const before = process.memoryUsage.rss()
    const { tensors: found } = await openCheckpoint(path)
    expect(found.get('a.weight')).toMatchObject({ dtype: 'F16', shape: [bytes / 8192, 4096], length: bytes, offset: header.byteLength })
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20)
  })

  it('of 20 GB that claims a header as large is refused before memory is made for it', async () => {
    await using folder = await temporary()
    const path = await folder.write(
      'large.gguf',
      Buffer.concat([Buffer.from('GGUF'), u32(3), u64(1), u64(60_000), text('k'), u32(META.list), u32(META.u8), u64(8_000_000)]),
    )
    const file = await open(path, 'r+')
    await file.truncate(20 * 2 ** 30)
    await file.close()
    const before = process.memoryUsage.rss()
    await expect(openCheckpoint(path)).rejects.toMatchObject({ code: 'BAD_INPUT' })
    expect(process.memoryUsage.rss() - before).toBeLessThan(128 * 2 ** 20)
  })
})
