import { type Branch, branchesOf } from '../graph/branches.js'
import { elementType, type GraphIndex } from '../graph/cut.js'
import { TensorProto_DataType as DataType, type NodeProto } from '../graph/generated/onnx_pb.js'
import { scaleOwners } from '../graph/scales.js'
import { readsOf } from '../graph/subgraphs.js'

/** Rows of a table picked by ids, read straight from the fragment: only the rows asked for. */
export interface GatherStep {
  readonly kind: 'gather'
  readonly table: string
  readonly ids: string
  readonly output: string
}

/** A run of nodes for one engine: at most one matrix, with its scales, among its weights, so that little has to be in memory at once. */
export interface SegmentStep {
  readonly kind: 'segment'
  readonly nodes: readonly NodeProto[]
  /** activations that it needs, by name */
  readonly inputs: readonly string[]
  readonly weights: readonly string[]
  /** values that later steps or the caller need */
  readonly outputs: readonly string[]
}

/** A segment of the native program. */
export interface NativeStep {
  readonly kind: 'native'
  /** its number in the program */
  readonly segment: number
  /** values that it needs and makes by name, caches that are graph inputs and outputs too */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
}

/** Steps that run only when rows are sent to them; if not, what they make is their `data` as it is. */
export interface BranchStep extends Omit<Branch, 'nodes'> {
  readonly kind: 'branch'
  readonly steps: readonly PlainStep[]
  /** all that it needs, by name */
  readonly inputs: readonly string[]
  readonly weights: readonly string[]
}

/** A step that runs in every pass that comes to it. */
export type PlainStep = GatherStep | SegmentStep
/** A step in ONNX Runtime. */
export type OnnxStep = PlainStep | BranchStep
export type Step = OnnxStep | NativeStep

/** A step before it is known what it needs and makes. */
type Cut = GatherStep | Pick<SegmentStep, 'kind' | 'nodes'> | (Branch & { readonly kind: 'branch' })

const INTEGERS: readonly (number | undefined)[] = [DataType.INT32, DataType.INT64]

/** True for what is streamed or pinned by choice; vectors (norms, biases) are small and always pinned. */
export function isMatrix(index: GraphIndex, name: string): boolean {
  return (index.weights.get(name)?.tensor.dims.length ?? 0) >= 2
}

/**
 * Cuts the node list, in its order, into steps. A segment ends where the next node needs a second matrix, to which its scales
 * belong; a `Gather` along the rows of a weight is a step of its own, and so is a branch, where its last node is. The cut
 * depends on the graph alone, so results never depend on the budget.
 */
export function planSteps(index: GraphIndex): OnnxStep[] {
  const branches = branchesOf(index)
  const within = new Set([...branches.values()].flatMap(({ nodes }) => nodes))
  const owners = scaleOwners(index)
  const main = index.nodes.filter((node) => branches.has(node) || !within.has(node))
  return withBoundaries(index, cutNodes(index, main, branches, owners), new Set(index.outputs.map(({ name }) => name)), owners)
}

function cutNodes(
  index: GraphIndex,
  nodes: readonly NodeProto[],
  branches: ReadonlyMap<NodeProto, Branch>,
  owners: ReadonlyMap<string, string>,
): Cut[] {
  const steps: Cut[] = []
  let open: NodeProto[] = []
  let made = new Set<string>()
  let matrices = new Set<string>()
  const close = () => {
    if (open.length > 0) steps.push({ kind: 'segment', nodes: open })
    open = []
    made = new Set()
    matrices = new Set()
  }
  for (const node of nodes) {
    const branch = branches.get(node)
    if (branch) {
      close()
      steps.push({ kind: 'branch', ...branch })
      continue
    }
    const rows = rowsOf(index, node)
    if (rows) {
      if (made.has(rows.ids)) close()
      steps.push(rows)
      continue
    }
    const needed = readsOf(node)
      .filter((name) => isMatrix(index, name))
      .map((name) => owners.get(name) ?? name)
    if (needed.some((name) => !matrices.has(name)) && matrices.size > 0) close()
    for (const name of needed) matrices.add(name)
    for (const name of node.output) made.add(name)
    open.push(node)
  }
  close()
  return steps
}

/** A Gather of rows of a weight by integers that only a run shows; undefined for any other node, which its engine may judge. */
function rowsOf(index: GraphIndex, { opType, input, output, attribute }: NodeProto): GatherStep | undefined {
  if (opType !== 'Gather' || input.length !== 2 || output.length !== 1) return undefined
  const [[table, ids], [rows]] = [input as [string, string], output as [string]]
  const axis = attribute.find(({ name }) => name === 'axis')?.i ?? 0n
  if (axis !== 0n || !isMatrix(index, table) || index.weights.has(ids) || index.constants.has(ids)) return undefined
  const made = declared(index, rows) ?? elementType(index, table)
  return INTEGERS.includes(declared(index, ids)) && made === elementType(index, table)
    ? { kind: 'gather', table, ids, output: rows }
    : undefined
}

/** The element type that the graph declares for a value, if it does. */
function declared(index: GraphIndex, name: string): number | undefined {
  const type = index.types.get(name)?.value
  return type?.case === 'tensorType' ? type.value.elemType : undefined
}

/** Steps with what they need and make. `wanted` is what is needed of them in the end; what they need themselves comes to it. */
function withBoundaries(index: GraphIndex, steps: readonly Cut[], wanted: Set<string>, owners: ReadonlyMap<string, string>): OnnxStep[] {
  const result: OnnxStep[] = []
  // Backwards, so that what later steps need is known; what nobody needs is left out.
  for (const step of [...steps].reverse()) {
    const whole =
      step.kind === 'gather' ? step : step.kind === 'branch' ? branchStep(index, step, owners) : segment(index, step.nodes, wanted)
    if (!madeBy(whole).some((name) => wanted.has(name))) continue
    result.push(whole)
    for (const name of usedBy(whole)) wanted.add(name)
  }
  return result.reverse()
}

function segment(index: GraphIndex, nodes: readonly NodeProto[], wanted: ReadonlySet<string>): SegmentStep {
  const made = new Set(nodes.flatMap(({ output }) => output))
  const used = [...new Set(nodes.flatMap(readsOf))].filter((name) => name !== '' && !made.has(name) && !index.constants.has(name))
  const [inputs, weights] = [used.filter((name) => !index.weights.has(name)), used.filter((name) => index.weights.has(name))]
  return { kind: 'segment', nodes, inputs, weights, outputs: [...made].filter((name) => wanted.has(name)) }
}

function branchStep(index: GraphIndex, { nodes, rows, data, output }: Branch, owners: ReadonlyMap<string, string>): BranchStep {
  const steps = withBoundaries(index, cutNodes(index, nodes, new Map(), owners), new Set([output]), owners) as PlainStep[]
  const made = new Set(steps.flatMap(madeBy))
  const inputs = new Set([rows, data, ...steps.flatMap(usedBy)].filter((name) => !made.has(name)))
  const weights = new Set(steps.flatMap((step) => (step.kind === 'segment' ? step.weights : [])))
  return { kind: 'branch', rows, data, output, steps, inputs: [...inputs], weights: [...weights] }
}

/** The values that a step needs. */
export function usedBy(step: Step): readonly string[] {
  return step.kind === 'gather' ? [step.ids] : step.inputs
}

/** The values that a step makes for others. */
export function madeBy(step: Step): readonly string[] {
  return step.kind === 'gather' || step.kind === 'branch' ? [step.output] : step.outputs
}

// Nodes that treat every row (the last dimension) alike and apart from the others.
const ROW_WISE = new Set([
  'Cast',
  'DequantizeLinear',
  'Transpose',
  'MatMul',
  'Add',
  'Mul',
  'Div',
  'Tanh',
  'RMSNormalization',
  'LayerNormalization',
  'Gemm',
  'Identity',
])

/**
 * The step that makes `logits` from the hidden states row by row, if there is one: for generation it needs only the last row.
 */
export function headStep(steps: readonly Step[]): SegmentStep | undefined {
  const last = steps.find((step): step is SegmentStep => step.kind === 'segment' && step.outputs.includes('logits'))
  if (last?.inputs.length !== 1 || last.outputs.length !== 1) return undefined
  // What is made of weights alone is no row of anything.
  const rows = new Set(last.inputs)
  for (const { opType, input, output } of last.nodes) {
    if (!input.some((name) => rows.has(name))) continue
    if (!ROW_WISE.has(opType)) return undefined
    for (const name of output) rows.add(name)
  }
  return last
}
