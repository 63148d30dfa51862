import { readFile, writeFile } from 'node:fs/promises'
import { indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import { value } from '../graph/onnx.js'
import { stockOutputs } from './stock.js'

/** The weights of one expert: their names and bytes, in the order of their use. */
export type ExpertWeights = readonly { readonly name: string; readonly length: number }[]

/** The experts of one row of tokens: by layer, in the order of the experts. */
export type Routes = readonly (readonly ExpertWeights[])[]

/** Which experts the mixture in an asset folder sends the tokens of each row to, as stock ONNX Runtime says out of what its TopK gives. */
export async function routesOf(folder: string, rows: readonly (readonly number[])[]): Promise<Routes[]> {
  const model = parseGraph(await readFile(`${folder}/model.onnx`))
  const { weights } = indexGraph(model)
  const routers = model.graph!.node.filter(({ opType }) => opType === 'TopK').map(({ output }) => output[1]!)
  model.graph!.output.push(...routers.map((name) => value(name, DataType.INT64)))
  await writeFile(`${folder}/routes.onnx`, serializeGraph(model))
  const outputs = (await stockOutputs(`${folder}/routes.onnx`, rows))!
  const expert = (name: string, n: number): ExpertWeights => {
    const module = name.slice(1, name.indexOf('/gate/')).replaceAll('/', '.')
    const found = [...weights.values()].filter((weight) => weight.name.startsWith(`${module}.experts.${n}.`))
    const place = ({ name }: { name: string }) => ORDER.indexOf(name.split('.').at(-2)!)
    return found.sort((a, b) => place(a) - place(b)).map(({ name, data }) => ({ name, length: data.length }))
  }
  return rows.map((_, row) =>
    routers.map((name) => {
      const chosen = Array.from(outputs[name]!.data as BigInt64Array, Number)
      const size = chosen.length / rows.length
      const sent = new Set(chosen.slice(row * size, (row + 1) * size))
      return [...sent].sort((a, b) => a - b).map((n) => expert(name, n))
    }),
  )
}

const ORDER = ['gate_proj', 'w1', 'up_proj', 'w3', 'down_proj', 'w2']

/** Says what passes read of their experts' weights if so many bytes of them stay in memory, by their last use. */
export class ReadCount {
  private list: { readonly name: string; readonly length: number }[] = []

  /** `ahead` for an engine that reads what a layer needs together. */
  constructor(
    private readonly budget: number,
    private readonly ahead: boolean,
  ) {}

  /** The bytes that a pass over these layers reads. */
  pass(layers: Routes): number {
    let read = 0
    for (const layer of layers)
      for (const [at, expert] of layer.entries()) {
        if (this.ahead) read += this.fill(layer.slice(at).flat(), false)
        for (const weight of expert) read += this.fill([weight], true)
      }
    return read
  }

  /** Makes these the last used ones and reads those that are not there; `must` others of them make room, else that ends it. */
  private fill(weights: ExpertWeights, must: boolean): number {
    const wanted = new Set(weights.map(({ name }) => name))
    const there = new Set(this.list.map(({ name }) => name))
    this.list = [...this.list.filter(({ name }) => !wanted.has(name)), ...weights.filter(({ name }) => there.has(name))]
    let read = 0
    for (const weight of weights) {
      if (there.has(weight.name)) continue
      while (this.bytes() + weight.length > this.budget) {
        if (!must && wanted.has(this.list[0]!.name)) return read
        this.list.shift()
      }
      this.list.push(weight)
      read += weight.length
    }
    return read
  }

  private bytes(): number {
    return this.list.reduce((sum, { length }) => sum + length, 0)
  }
}
