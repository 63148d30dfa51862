import { posix, win32 } from 'node:path'
import { create } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssetError } from '../../src/core/errors.js'
import { externalData } from '../../src/graph/external.js'
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
} from '../../src/graph/generated/onnx_pb.js'

/** An external F32 tensor of 6 elements. */
const external = (entries: Record<string, string>, dims = [2n, 3n]) =>
  create(TensorProtoSchema, {
    name: 'w',
    dataType: DataType.FLOAT,
    dims,
    dataLocation: DataLocation.EXTERNAL,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
  })

function refusal(entries: Record<string, string>, dims?: bigint[]): string {
  try {
    externalData(external(entries, dims))
  } catch (error) {
    expect(error).toBeInstanceOf(AssetError)
    expect((error as AssetError).code).toBe('BAD_INPUT')
    return (error as AssetError).message
  }
  return 'accepted'
}

describe('externalData', () => {
  it('gives file, offset and length, filling in what may be left out', () => {
    const location = 'modules/model/layers/0/q_proj.safetensors'
    expect(externalData(external({ location, offset: '4096', length: '24' }))).toEqual({ location, offset: 4096, length: 24 })
    expect(externalData(external({ location, checksum: 'abc' }))).toEqual({ location, offset: 0, length: 24 })
    expect(externalData(create(TensorProtoSchema, { name: 'inside' }))).toBeUndefined()
  })

  const bad = ['../w', 'a/../../w', '/etc/passwd', 'C:\\w', 'C:w', 'c:/w', '..\\w', 'a\\w', 'a\0b', '', 'a//b', './w', 'a/.', '..', 'a/..']
  for (const location of bad) {
    it(`refuses the location ${JSON.stringify(location)} (32)`, () => {
      expect(refusal({ location, length: '24' })).toMatch(/^Cannot read the ONNX graph: tensor "w": its external location /)
    })
  }

  for (const value of ['-1', '1.5', 'x', '', '0x10', '1e3', ' 1', '99999999999999999999', '9007199254740993']) {
    it(`refuses the offset and length ${JSON.stringify(value)} (35)`, () => {
      expect(refusal({ location: 'w', offset: value })).toContain('is not a byte count')
      expect(refusal({ location: 'w', length: value })).toContain('is not a byte count')
    })
  }

  it('refuses unknown and repeated keys, and a missing location (35)', () => {
    expect(refusal({ location: 'w', url: 'http://x' })).toContain('unknown key "url"')
    expect(refusal({ offset: '0' })).toContain('is missing')
    const twice = external({ location: 'w' })
    twice.externalData.push(...external({ location: 'v' }).externalData)
    expect(() => externalData(twice)).toThrow('gives location twice')
  })

  it('refuses a length other than the shape needs, and an end beyond 2^53 (35)', () => {
    expect(refusal({ location: 'w', length: '1000000000000000' })).toContain('its shape needs 24')
    expect(refusal({ location: 'w', length: '23' })).toContain('its external length is 23 bytes')
    expect(refusal({ location: 'w', offset: '9007199254740991' })).toContain('ends beyond 2^53')
    expect(refusal({ location: 'w' }, [2n ** 52n, 4n])).toContain('is not a size')
  })

  it('never lets a location out of the folder, whatever the text', () => {
    const part = fc.constantFrom('..', '.', '', 'a', 'C:', '/', '\\', '\0', 'b.bin')
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), fc.constantFrom('', '/', '\\'), (parts, glue) => {
        const location = parts.join(glue)
        if (refusal({ location }) !== 'accepted') return
        expect(posix.resolve('/folder', location).startsWith('/folder/')).toBe(true)
        expect(win32.resolve('D:\\folder', location).startsWith('D:\\folder\\')).toBe(true)
        expect(location).not.toMatch(/\\|\0/)
      }),
      { numRuns: 3000 },
    )
  })
})
