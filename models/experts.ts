import type { Module, Value } from '../src/graph/build.js'
import { linear } from '../src/graph/modules.js'
import { badConfig, type ConfigReader } from './config.js'
import type { Family, TensorPart } from './family.js'
import { type GatedMlp, gatedMlp, NAMES } from './gated-mlp.js'

type Names = NonNullable<GatedMlp['names']>

/** The MLPs of a mixture: a router sends each token to a few of them. */
export interface Experts {
  readonly count: number
  /** experts of a token */
  readonly perToken: number
  /** width of an expert */
  readonly inner: number
  /** the weights of a token's experts are scaled to a sum of 1 */
  readonly normalised: boolean
  /** the module that holds router and experts; `mlp` when left out */
  readonly module?: string
  readonly names?: Names
  /** layers that have experts, the others an MLP; all when left out */
  readonly isSparse?: (layer: number) => boolean
}

/** What all files say of their experts; newer ones call their number `num_local_experts` in every family. */
export function expertsOf(
  config: ConfigReader,
  defaults: { readonly count: number; readonly perToken: number },
): Pick<Experts, 'count' | 'perToken'> {
  const count = config.size('num_local_experts', config.size('num_experts', defaults.count))
  const perToken = config.size('num_experts_per_tok', defaults.perToken)
  if (perToken > count) throw badConfig(`num_experts_per_tok ${perToken} is more than the ${count} experts`)
  return { count, perToken }
}

/**
 * x (batch, sequence, hidden) -> the same: the sum of what the experts of each token make of it, by their weights. Who goes
 * where is settled for all experts before the first of them computes. Each takes the rows that are sent to it and adds what
 * it makes to them, in the order of the experts, so that neither depends on the other rows; one without rows changes nothing.
 */
export function routedExperts(module: Module, experts: Experts, mlp: GatedMlp, x: Value): Value {
  const shares = sharesOf(module.child('gate'), experts, mlp.hidden, x)
  const expert = (n: number) => module.child(`experts.${n}`)
  const routes = Array.from({ length: experts.count }, (_, n) => routeOf(expert(n), shares, n))
  const sizes = { ...mlp, inner: experts.inner, ...(experts.names && { names: experts.names }) }
  return routes.reduce((sum, route, n) => addExpert(expert(n), sizes, x, route, sum), zeros(module, x))
}

/** The weight of every expert for every token, (batch, sequence, experts): 0 for all but those that the router chose. */
function sharesOf(router: Module, { count, perToken, normalised }: Experts, hidden: number, x: Value): Value {
  const scores = router.op('Softmax', [linear(router, x, { inputs: hidden, outputs: count, bias: false })], { axis: -1n })
  const chosen = { dims: ['batch', 'sequence', perToken] }
  const [best, which] = router.ops('TopK', [scores, router.integers(perToken)], { axis: -1n }, [chosen, { ...chosen, dtype: 'I64' }])
  const sum = () => router.op('ReduceSum', [best!, router.integers(-1)], { keepdims: 1n }, { dims: ['batch', 'sequence', 1] })
  const weights = normalised ? router.op('Div', [best!, sum()]) : best!
  return router.op('ScatterElements', [zeros(router, scores), which!, weights], { axis: -1n })
}

interface Route {
  /** an expert's weight for each token, (batch, sequence) */
  readonly share: Value
  /** which rows it gets, (rows, 2): batch and position */
  readonly rows: Value
}

function routeOf(expert: Module, shares: Value, n: number): Route {
  const share = expert.op('Gather', [shares, expert.integer(n)], { axis: -1n }, { dims: ['batch', 'sequence'] })
  const places = expert.op('NonZero', [share], {}, { dtype: 'I64', dims: undefined })
  return { share, rows: expert.op('Transpose', [places], { perm: [1n, 0n] }) }
}

/** `sum`, with what the expert makes of its rows added to them. */
function addExpert(expert: Module, mlp: GatedMlp, x: Value, { share, rows }: Route, sum: Value): Value {
  const taken = expert.op('GatherND', [x, rows], {}, { dims: undefined })
  const weight = expert.op('Unsqueeze', [expert.op('GatherND', [share, rows], {}, { dims: undefined }), expert.integers(-1)])
  const made = expert.op('Mul', [gatedMlp(expert, mlp, taken), weight])
  return expert.op('ScatterND', [sum, rows, made], { reduction: 'add' })
}

function zeros(module: Module, like: Value): Value {
  const shape = module.op('Shape', [like], {}, { dtype: 'I64', dims: [like.dims?.length ?? 0] })
  return module.op('ConstantOfShape', [shape], {}, { dtype: 'F32', dims: like.dims })
}

// More than any model has, and few enough to be listed.
const MOST_STACKED = 65536

/**
 * Experts as a live module of transformers 5 stacks them, `experts.gate_up_proj` (experts, 2 * inner, hidden) and
 * `experts.down_proj` (experts, hidden, inner), or with gate and up apart, become those that published files have: a
 * module for each, in `module`, where the router is too.
 */
export function stackedExperts(module = 'mlp', { gate, up, down }: Names = NAMES): NonNullable<Family['parts']> {
  const held: Readonly<Record<string, readonly string[]>> = {
    gate_up_proj: [gate, up],
    gate_proj: [gate],
    up_proj: [up],
    down_proj: [down],
  }
  return (name, shape) => {
    const [, layer, what] = /^(.*layers\.\d+\.)mlp\.(gate\.weight|experts\.\w+)$/.exec(name) ?? []
    if (what === 'gate.weight' && module !== 'mlp') return [{ name: `${layer}${module}.${what}`, shape }]
    const names = held[what?.replace('experts.', '') ?? '']
    const [count, rows, width] = shape as [number, number, number]
    if (!names || shape.length !== 3 || shape.includes(0) || count > MOST_STACKED || rows % names.length !== 0) return undefined
    const expert = (n: number): TensorPart[] =>
      names.map((name) => ({ name: `${layer}${module}.experts.${n}.${name}.weight`, shape: [rows / names.length, width] }))
    return Array.from({ length: count }, (_, n) => expert(n)).flat()
  }
}
