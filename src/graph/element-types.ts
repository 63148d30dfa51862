import { create } from '@bufbuild/protobuf'
import { TensorProto_DataType as DataType, type GraphProto, type NodeProto, ValueInfoProtoSchema } from './generated/onnx_pb.js'
import { graphsOf } from './subgraphs.js'
import { STANDARD } from './validate.js'

/** An ONNX element type; undefined where it can't be told, as for what is no tensor. */
type Type = number | undefined
type Seen = (name: string) => Type

/**
 * Declares the element type of every value that a graph leaves undeclared, as far as its operators tell, so that it can be
 * cut anywhere: exporters need not say them. The graph is one that was checked.
 */
export function declareElementTypes(graph: GraphProto): void {
  const declared = new Set([...graph.input, ...graph.valueInfo, ...graph.output].flatMap(({ name, type }) => (type ? [name] : [])))
  for (const { name } of graph.initializer) declared.add(name)
  for (const [name, elemType] of typesOf(graph, () => undefined)) {
    if (elemType === undefined || declared.has(name)) continue
    const type = { value: { case: 'tensorType' as const, value: { elemType } } }
    graph.valueInfo.push(create(ValueInfoProtoSchema, { name, type }))
  }
}

/** The types of all names in a graph, given those around it. */
function typesOf(graph: GraphProto, around: Seen): Map<string, Type> {
  const types = new Map<string, Type>(graph.initializer.map(({ name, dataType }) => [name, dataType]))
  for (const { name, type } of [...graph.input, ...graph.valueInfo, ...graph.output])
    if (type?.value.case === 'tensorType') types.set(name, type.value.value.elemType)
  const seen: Seen = (name) => (types.has(name) ? types.get(name) : around(name))
  for (const node of graph.node) {
    const made = outputTypes(node, seen)
    for (const [at, name] of node.output.entries())
      if (name !== '' && !types.has(name)) types.set(name, made[Math.min(at, made.length - 1)])
  }
  return types
}

/** The types of a node's outputs; the last is that of all after it too. */
function outputTypes(node: NodeProto, seen: Seen): readonly Type[] {
  const { opType, domain, input, attribute } = node
  if (!STANDARD.includes(domain)) return [undefined]
  const of = (at: number): Type => (input[at] ? seen(input[at]) : undefined)
  const said = (name: string): Type => {
    const found = attribute.find((one) => one.name === name)
    return found && Number(found.i)
  }
  const held = () =>
    graphsOf(node)
      .slice(0, 1)
      .flatMap((graph) => heldTypes(graph, seen))
  const rule = RULES[opType]
  return rule ? rule({ of, said, held, node }) : [of(0)]
}

function heldTypes(graph: GraphProto, seen: Seen): Type[] {
  const types = typesOf(graph, seen)
  return graph.output.map(({ name }) => (types.has(name) ? types.get(name) : seen(name)))
}

interface Facts {
  /** the type of an input by its place */
  of(at: number): Type
  /** the number that an attribute is */
  said(name: string): Type
  /** the types of the outputs of the first graph that it holds */
  held(): Type[]
  readonly node: NodeProto
}
type Rule = (facts: Facts) => readonly Type[]

const each = (names: string, rule: Rule): Record<string, Rule> => Object.fromEntries(names.split(' ').map((name) => [name, rule]))
const { BOOL, FLOAT, INT32, INT64, STRING, UINT8 } = DataType

// Operators whose outputs are not all of the type of their first input.
const RULES: Readonly<Record<string, Rule>> = Object.assign(Object.create(null), {
  ...each('And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual IsInf IsNaN OptionalHasElement RegexFullMatch', () => [BOOL]),
  ...each('Shape Size NonZero ArgMax ArgMin NonMaxSuppression SequenceLength', () => [INT64]),
  ...each('MatMulInteger ConvInteger', () => [INT32]),
  ...each('Cast BitCast', ({ said }) => [said('to')]),
  ...each('CastLike Where', ({ of }) => [of(1)]),
  ...each('QLinearMatMul QLinearConv', ({ of }) => [of(7)]),
  ...each('TopK MaxPool', ({ of }) => [of(0), INT64]),
  ...each('EyeLike RandomNormalLike RandomUniformLike Bernoulli', ({ of, said }) => [said('dtype') ?? of(0)]),
  ...each('RandomNormal RandomUniform', ({ said }) => [said('dtype') ?? FLOAT]),
  ...each('HannWindow HammingWindow BlackmanWindow MelWeightMatrix', ({ said }) => [said('output_datatype') ?? FLOAT]),
  // Of these the elements are known, but they are no tensors, or come out of what is none.
  ...each(
    'SplitToSequence SequenceConstruct SequenceEmpty SequenceInsert SequenceErase SequenceAt SequenceMap ConcatFromSequence Optional OptionalGetElement',
    () => [undefined],
  ),
  Attention: ({ of }) => [of(0), of(1), of(2), of(0)],
  BatchNormalization: ({ of }) => [of(0), of(3)],
  Constant: ({ node }) => [constantType(node)],
  ConstantOfShape: ({ node }) => [node.attribute.find(({ t }) => t)?.t?.dataType ?? FLOAT],
  DequantizeLinear: ({ of, said }) => [said('output_dtype') || of(1)],
  Dropout: ({ of }) => [of(0), BOOL],
  DynamicQuantizeLinear: () => [UINT8, FLOAT, UINT8],
  If: ({ held }) => held(),
  ImageDecoder: () => [UINT8],
  LayerNormalization: ({ of, said }) => [of(0), said('stash_type') ?? FLOAT],
  // The condition comes first.
  Loop: ({ held }) => held().slice(1),
  Multinomial: ({ said }) => [said('dtype') ?? INT32],
  OneHot: ({ of }) => [of(2)],
  QuantizeLinear: ({ of, said }) => [said('output_dtype') || (of(2) ?? UINT8)],
  Scan: ({ held }) => held(),
  StringSplit: () => [STRING, INT64],
  TfIdfVectorizer: () => [FLOAT],
  Unique: ({ of }) => [of(0), INT64],
} satisfies Record<string, Rule>)

function constantType({ attribute }: NodeProto): Type {
  const [value] = attribute
  if (value?.t) return value.t.dataType
  const kind = /^value_(int|float|string)s?$/.exec(value?.name ?? '')?.[1]
  return kind === 'int' ? INT64 : kind === 'float' ? FLOAT : kind === 'string' ? STRING : undefined
}
