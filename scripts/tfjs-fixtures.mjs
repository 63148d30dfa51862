// Makes small models with TensorFlow.js and says what it reads in their weights, for test/sources/tfjs-models.json.
// usage: node scripts/tfjs-fixtures.mjs FOLDER > test/sources/tfjs-models.json
// FOLDER is where tfjs-core, tfjs-layers, tfjs-converter and tfjs-backend-cpu of @tensorflow 4.22 are installed. They are no
// dependencies of this project: 100 MB, and not released any more since 2024.
import { createRequire } from 'node:module'
import { resolve } from 'node:path'

const load = createRequire(resolve(process.argv[2], 'package.json'))
const tf = load('@tensorflow/tfjs-core')
load('@tensorflow/tfjs-backend-cpu')
const layers = load('@tensorflow/tfjs-layers')
const converter = load('@tensorflow/tfjs-converter')

const base64 = (bytes) => Buffer.from(bytes).toString('base64')
// The same numbers on every run.
let state = 1
const random = () => {
  state = (state * 48271) % 2147483647
  return state / 2147483647 - 0.5
}

/** The files of a model whose weights are cut into shards of `size` bytes, which end anywhere, and what TensorFlow.js reads in them. */
function modelOf({ weightData, weightSpecs, ...model }, size, groups = [weightSpecs.length]) {
  const decoded = tf.io.decodeWeights(weightData, weightSpecs)
  const files = {}
  const weightsManifest = []
  let [first, at] = [0, 0]
  for (const [group, count] of groups.entries()) {
    const weights = weightSpecs.slice(first, first + count)
    const length = weights.reduce((sum, { shape, dtype, quantization }) => {
      const width = { float32: 4, int32: 4, bool: 1, uint8: 1, uint16: 2, float16: 2 }[quantization?.dtype ?? dtype]
      return sum + shape.reduce((product, dim) => product * dim, width)
    }, 0)
    const shards = Math.ceil(length / size)
    const paths = Array.from({ length: shards }, (_, n) => `group${group + 1}-shard${n + 1}of${shards}.bin`)
    for (const [n, path] of paths.entries())
      files[path] = base64(new Uint8Array(weightData).subarray(at + n * size, at + Math.min(length, (n + 1) * size)))
    weightsManifest.push({ paths, weights })
    first += count
    at += length
  }
  files['model.json'] = base64(Buffer.from(JSON.stringify({ ...model, weightsManifest })))
  const weights = weightSpecs.map(({ name }) => {
    const { dtype, shape } = decoded[name]
    return { name, dtype, shape, values: [...decoded[name].dataSync()] }
  })
  return { files, weights }
}

/** A layers model, saved as TensorFlow.js saves it, its weights set to the numbers of this script. */
async function layersModel() {
  const model = layers.sequential({
    layers: [
      layers.layers.conv2d({ inputShape: [6, 6, 2], filters: 3, kernelSize: 3, name: 'conv' }),
      layers.layers.batchNormalization({ name: 'norm' }),
      layers.layers.reshape({ targetShape: [4, 12] }),
      layers.layers.lstm({ units: 5, recurrentInitializer: 'glorotNormal', name: 'lstm' }),
      layers.layers.dense({ units: 2, activation: 'softmax', name: 'head' }),
    ],
  })
  model.setWeights(model.getWeights().map(({ shape }) => tf.tensor(Array.from({ length: tf.util.sizeFromShape(shape) }, random), shape)))
  let saved
  await model.save({
    save: async (artifacts) => {
      saved = artifacts
      return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) }
    },
  })
  return modelOf(saved, 333)
}

const floats = (count) => new Uint8Array(Float32Array.from({ length: count }, random).buffer)
const whole = (count, most) => Array.from({ length: count }, () => Math.floor((random() + 0.5) * most))

/** A graph model with weights of every kind, quantised ones among them, in two groups; TensorFlow.js runs it. */
async function graphModel() {
  const attr = (dtype, rest = {}) => ({ dtype: { type: dtype }, ...rest })
  const constant = (name, dtype = 'DT_FLOAT') => ({ name, op: 'Const', attr: attr(dtype) })
  const node = (name, op, input) => ({ name, op, input, attr: { T: { type: 'DT_FLOAT' } } })
  const weights = [
    ['model/dense/kernel', 'float32', [4, 3], floats(12)],
    ['model/dense/bias', 'float32', [3], new Uint8Array(whole(3, 256)), { dtype: 'uint8', scale: 0.0123456789, min: -1.5 }],
    [
      'model/out/kernel',
      'float32',
      [3, 5],
      new Uint8Array(Uint16Array.from(whole(15, 65536)).buffer),
      { dtype: 'uint16', scale: 3e-5, min: -1 },
    ],
    ['model/out/bias', 'float32', [5], new Uint8Array(Uint16Array.from(whole(5, 15360)).buffer), { dtype: 'float16' }],
    ['model/steps', 'int32', [2], new Uint8Array(Int32Array.of(7, -8).buffer)],
    ['model/few', 'int32', [3], new Uint8Array(whole(3, 256)), { dtype: 'uint8', scale: 1, min: -3 }],
    ['model/flags', 'bool', [3], Uint8Array.of(1, 0, 1)],
    ['model/empty', 'float32', [0, 4], new Uint8Array(0)],
    ['scalar', 'float32', [], floats(1)],
  ]
  const modelTopology = {
    node: [
      { name: 'x', op: 'Placeholder', attr: attr('DT_FLOAT', { shape: { shape: { dim: [{ size: '-1' }, { size: '4' }] } } }) },
      ...weights.map(([name, dtype]) => constant(name, { float32: 'DT_FLOAT', int32: 'DT_INT32', bool: 'DT_BOOL' }[dtype])),
      node('a', 'MatMul', ['x', 'model/dense/kernel']),
      node('b', 'BiasAdd', ['a', 'model/dense/bias']),
      node('c', 'MatMul', ['b', 'model/out/kernel']),
      node('d', 'BiasAdd', ['c', 'model/out/bias']),
      node('y', 'Mul', ['d', 'scalar']),
    ],
    library: {},
    versions: {},
  }
  const weightSpecs = weights.map(([name, dtype, shape, , quantization]) => ({ name, shape, dtype, ...(quantization && { quantization }) }))
  const weightData = new Uint8Array(Buffer.concat(weights.map(([, , , bytes]) => bytes))).buffer
  const artifacts = {
    format: 'graph-model',
    generatedBy: 'scripts/tfjs-fixtures.mjs',
    convertedBy: null,
    modelTopology,
    weightSpecs,
    weightData,
  }
  const model = await converter.loadGraphModel(tf.io.fromMemory(artifacts))
  const y = model.execute({ x: tf.ones([2, 4]) }, 'y')
  if (y.shape.join() !== '2,5' || !y.dataSync().every(Number.isFinite)) throw new Error('TensorFlow.js does not run the graph model')
  return modelOf(artifacts, 41, [3, 6])
}

const made = { tfjs: tf.version_core, layers: await layersModel(), graph: await graphModel() }
console.log(JSON.stringify(made))
