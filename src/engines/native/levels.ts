import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { readsOf } from '../../graph/subgraphs.js'
import type { Judged } from './judge.js'

/** Nodes for one engine, in an order in which they can be computed. */
export interface Level {
  readonly native: boolean
  readonly nodes: readonly NodeProto[]
}

/**
 * Sorts nodes into levels that can be computed one after the other: a level holds nodes of one engine, and there are as
 * few as can be, since the level of a node is the number of times that the engine changes on the longest way to it. What
 * depends on no input of the graph is computed as late as it can be, so that nothing made of weights alone waits in memory.
 * `given` are the inputs of the graph.
 */
export function levelsOf({ nodes, stored }: Judged, given: ReadonlySet<string>): Level[] {
  const isNative = (node: NodeProto) => nodes.get(node) === undefined
  const changes = (a: NodeProto, b: NodeProto) => Number(isNative(a) !== isNative(b))
  const [level, users] = [new Map<NodeProto, number>(), new Map<NodeProto, NodeProto[]>()]
  const makers = new Map<string, NodeProto>()
  const depends = new Set(given)
  const valuesOf = valuesBehind(stored)
  for (const node of nodes.keys()) {
    const values = valuesOf(node)
    const before = values.flatMap((name) => makers.get(name) ?? [])
    level.set(
      node,
      before.reduce((most, maker) => Math.max(most, level.get(maker)! + changes(maker, node)), isNative(node) ? 0 : 1),
    )
    users.set(node, [])
    for (const maker of before) users.get(maker)!.push(node)
    const isDependent = values.some((name) => depends.has(name))
    for (const name of node.output) {
      if (name === '') continue
      makers.set(name, node)
      if (isDependent) depends.add(name)
    }
  }
  for (const node of [...nodes.keys()].reverse()) {
    if (node.output.some((name) => depends.has(name))) continue
    const latest = users
      .get(node)!
      .reduce((least, user) => Math.min(least, level.get(user)! - changes(node, user)), Number.POSITIVE_INFINITY)
    if (Number.isFinite(latest)) level.set(node, latest)
  }
  const levels: NodeProto[][] = []
  for (const node of nodes.keys()) {
    const at = level.get(node)!
    levels[at] ??= []
    levels[at].push(node)
  }
  const room = { left: LIMITS.graphNodes }
  return levels.filter((list) => list.length > 0).map((list) => ({ native: isNative(list[0]!), nodes: withStored(list, stored, room) }))
}

/** The values that a node depends on: its own inputs, and those of the nodes that say how its weights are to be taken. */
function valuesBehind(stored: ReadonlyMap<string, NodeProto>): (node: NodeProto) => string[] {
  const behind = new Map<string, readonly string[]>()
  const valuesOf = (node: NodeProto) => readsOf(node).flatMap((name) => behind.get(name) ?? [name])
  for (const [name, node] of stored) behind.set(name, valuesOf(node))
  return valuesOf
}

/** The nodes, each after those that say how its weights are to be taken. @throws AssetError 'LIMIT' where that makes far more of them */
function withStored(nodes: readonly NodeProto[], stored: ReadonlyMap<string, NodeProto>, room: { left: number }): NodeProto[] {
  const found = new Set<NodeProto>()
  const pending = [...nodes].reverse()
  while (pending.length > 0) {
    const next = pending.at(-1)!
    const missing = readsOf(next)
      .flatMap((name) => stored.get(name) ?? [])
      .filter((maker) => !found.has(maker))
    pending.push(...missing)
    if (missing.length > 0) continue
    found.add(pending.pop()!)
    room.left -= 1
    if (room.left < 0) throw new AssetError('LIMIT', 'Cannot divide the graph: too many of its nodes use the same weights')
  }
  return [...found]
}
