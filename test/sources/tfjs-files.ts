import { readFile } from 'node:fs/promises'

/** What TensorFlow.js reads in a weight. */
export interface TfjsValues {
  readonly name: string
  readonly dtype: 'float32' | 'int32' | 'bool'
  readonly shape: readonly number[]
  readonly values: readonly number[]
}

/** A model as TensorFlow.js saved it: its files, and its weights as it reads them. scripts/tfjs-fixtures.mjs made them. */
export interface TfjsModel {
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly weights: readonly TfjsValues[]
}

type Stored = Record<'layers' | 'graph', { files: Record<string, string>; weights: TfjsValues[] }>

/** The models, of which one has layers and the other is a graph with weights of every kind. */
export async function tfjsModels(): Promise<Record<'layers' | 'graph', TfjsModel>> {
  const stored: Stored = JSON.parse(await readFile(new URL('../../../test/sources/tfjs-models.json', import.meta.url), 'utf8'))
  const model = ({ files, weights }: Stored['layers']): TfjsModel => ({
    files: new Map(Object.entries(files).map(([path, base64]) => [path, new Uint8Array(Buffer.from(base64, 'base64'))])),
    weights,
  })
  return { layers: model(stored.layers), graph: model(stored.graph) }
}

/** A weight of a model.json that the tests make. */
export const floats = (name: string, shape: readonly number[], more: object = {}) => ({ name, shape, dtype: 'float32', ...more })

/** The text of a model.json with these groups of shards and weights. */
export function modelJson(groups: unknown, more: object = {}): string {
  return JSON.stringify({ format: 'layers-model', modelTopology: { node: [] }, weightsManifest: groups, ...more })
}
