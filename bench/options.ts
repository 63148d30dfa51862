import { parseArgs } from 'node:util'

/** What the benches that measure a model of 1.24 billion parameters store its weights in. */
export const DTYPES = ['bf16', 'q8', 'q4'] as const
export type Dtype = (typeof DTYPES)[number]

const { values } = parseArgs({
  // those of the processes that a bench starts
  allowPositionals: true,
  options: {
    dtype: { type: 'string', default: DTYPES.join(',') },
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    small: { type: 'boolean', default: false },
  },
})

const dtypes = values.dtype.split(',')
const unknown = dtypes.find((dtype) => !DTYPES.includes(dtype as Dtype))
if (unknown !== undefined) throw new Error(`Cannot measure weights of ${unknown}: give --dtype some of ${DTYPES.join(',')}`)

/** The options of `npm run bench`. */
export const options = {
  dtypes: dtypes as Dtype[],
  /** one line of JSON for each record, with all rounds */
  json: values.json,
  /** a model that is only large enough to show that the bench runs, where it has one */
  small: values.small,
  /** keep the record under bench/record */
  record: values.record,
  /** where models are made and kept between runs; a temporary folder that goes when left out */
  folder: process.env.MODULE_ASSETS_BENCH,
}
