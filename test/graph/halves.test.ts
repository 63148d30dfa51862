import { describe, expect, it } from 'vitest'
import { indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { halvesOf } from '../../src/graph/halves.js'
import { external, modelOf, node, value } from './onnx.js'

const { FLOAT } = DataType

function halved(inputs: string[], nodes: ReturnType<typeof node>[], outputs: string[]) {
  const made = nodes.flatMap(({ output }) => output)
  const model = modelOf({
    input: inputs.map((name) => value(name, FLOAT, ['n', 4])),
    initializer: ['w', 'u'].map((name) => external(name, FLOAT, [4, 4])),
    node: nodes,
    valueInfo: made.filter((name) => !outputs.includes(name)).map((name) => value(name, FLOAT)),
    output: outputs.map((name) => value(name, FLOAT)),
  })
  const halves = halvesOf(indexGraph(model))
  return (
    halves &&
    [halves.encoder, halves.decoder].map(({ nodes, inputs, outputs }) => ({
      takes: inputs.map(({ name }) => name),
      nodes: nodes.map(({ output }) => output[0]),
      gives: outputs.map(({ name }) => name),
    }))
  )
}

const turned = node('Transpose', ['w'], ['turned'])
const encoded = node('MatMul', ['input_ids', 'turned'], ['encoded'])
const keys = node('MatMul', ['encoded', 'u'], ['keys'])
const decoded = node('MatMul', ['decoder_input_ids', 'turned'], ['decoded'])
const logits = node('Add', ['decoded', 'keys'], ['logits'])

describe('a graph of an encoder and a decoder', () => {
  it('is cut by what depends on the tokens of the decoder; what depends on weights alone goes with whoever uses it', () => {
    expect(halved(['input_ids', 'decoder_input_ids'], [turned, encoded, decoded, keys, logits], ['logits', 'encoded'])).toEqual([
      { takes: ['input_ids'], nodes: ['turned', 'encoded', 'keys'], gives: ['encoded', 'keys'] },
      { takes: ['decoder_input_ids', 'keys'], nodes: ['turned', 'decoded', 'logits'], gives: ['logits'] },
    ])
  })

  it('counts caches and masks of the decoder to the decoder', () => {
    const more = [node('Add', ['decoded', 'past_key_values.0.key'], ['a']), node('Add', ['a', 'decoder_attention_mask'], ['b'])]
    const inputs = ['input_ids', 'decoder_input_ids', 'past_key_values.0.key', 'decoder_attention_mask']
    const [encoder, decoder] = halved(inputs, [turned, encoded, decoded, ...more, node('Add', ['b', 'encoded'], ['y'])], ['y'])!
    expect(encoder!.nodes).toEqual(['turned', 'encoded'])
    expect(decoder!.takes.sort()).toEqual(['decoder_attention_mask', 'decoder_input_ids', 'encoded', 'past_key_values.0.key'])
  })

  it('stays whole where there is no decoder, or nothing but it', () => {
    expect(halved(['input_ids'], [turned, encoded], ['encoded'])).toBeUndefined()
    expect(halved(['decoder_input_ids'], [turned, decoded], ['decoded'])).toBeUndefined()
  })
})
