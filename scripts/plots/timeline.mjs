import { element, legend, line, picture, text } from './svg.mjs'

const SIZE = { width: 960, left: 70, top: 50, lane: 26, gap: 8 }
// What a weight belongs to, by its name.
const KINDS = [
  ['a', 'attention', /self_attn|attn|attention/],
  ['b', 'MLP', /mlp|intermediate|output\.dense/],
  ['c', 'embedding and head', /embed|lm_head|wte|rows of/],
]
const kindOf = (name) => KINDS.find(([, , pattern]) => pattern.test(name))?.[0]

/** One token of a trace (`masset run --trace`): what the disk read, what was computed, and when computing waited. */
export function timelinePlot({ traceEvents }) {
  const spans = traceEvents.filter(({ ph }) => ph === 'X')
  const passes = spans.filter(({ cat }) => cat === 'pass')
  // The first computes the prompt, the last has nobody to read ahead for.
  const pass = passes[Math.floor(passes.length / 2)]
  if (!pass) throw new Error('Cannot draw a token: the trace has none')
  const end = pass.ts + pass.dur
  const inside = spans.filter(({ cat, ts, dur }) => cat !== 'pass' && ts < end && ts + dur > pass.ts)
  const rows = [...new Set(inside.filter(({ cat }) => cat === 'disk').map(({ tid }) => tid))].sort((a, b) => a - b)
  const lanes = [
    ...rows.map((tid, at) => ({ name: `disk ${at + 1}`, blocks: blocksOf(inside.filter((span) => span.tid === tid)) })),
    { name: 'compute', blocks: blocksOf(inside.filter(({ cat }) => cat === 'compute')) },
    { name: 'wait', blocks: blocksOf(inside.filter(({ cat }) => cat === 'wait')).map((block) => ({ ...block, kind: 'd' })) },
  ]
  const x = (time) => SIZE.left + ((Math.min(Math.max(time, pass.ts), end) - pass.ts) / pass.dur) * (SIZE.width - SIZE.left - 20)
  const bottom = SIZE.top + lanes.length * (SIZE.lane + SIZE.gap)
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((step) => pass.dur / 1000 / step <= 10) ?? 2000
  const ticks = Array.from({ length: Math.floor(pass.dur / 1000 / step) + 1 }, (_, at) => at * step)
  const read = inside.filter(({ cat }) => cat === 'disk').reduce((sum, { args }) => sum + (args.bytes ?? 0), 0)
  return picture(SIZE.width, bottom + 50, 'One token: what the disk read and what was computed', [
    ...legend(SIZE.left, 20, [...KINDS.map(([name, label]) => [name, label]), ['d', 'waiting for the disk']]),
    ...ticks.flatMap((tick) => [
      line(x(pass.ts + tick * 1000), SIZE.top - 6, x(pass.ts + tick * 1000), bottom),
      text(x(pass.ts + tick * 1000), bottom + 16, tick, { class: 'quiet', 'text-anchor': 'middle' }),
    ]),
    ...lanes.flatMap(({ name, blocks }, at) => {
      const y = SIZE.top + at * (SIZE.lane + SIZE.gap)
      const shapes = ['a', 'b', 'c', 'd'].flatMap((kind) => {
        const boxes = blocks.filter((block) => block.kind === kind)
        const drawn = boxes.map(({ start, end }) => box(x(start), y, Math.max(x(end) - x(start), 0.3)))
        return boxes.length > 0 ? [element('path', { class: kind, d: drawn.join('') })] : []
      })
      return [text(SIZE.left - 8, y + SIZE.lane / 2 + 4, name, { 'text-anchor': 'end' }), ...shapes]
    }),
    text(SIZE.left, bottom + 38, `milliseconds of one token; ${(read / 1e6).toFixed(0)} MB were read meanwhile`, { class: 'quiet' }),
  ])
}

const short = (value) => Number(value.toFixed(2))
const box = (x, y, width) => `M${short(x)} ${y}h${short(width)}v${SIZE.lane}h${short(-width)}z`

/** Runs of events that belong to the same part of the model, with gaps below 20 microseconds, as one. */
function blocksOf(spans) {
  const blocks = []
  for (const { name, ts, dur } of spans) {
    const last = blocks.at(-1)
    const kind = kindOf(name) ?? last?.kind ?? 'c'
    if (last?.kind === kind && ts - last.end < 20) last.end = Math.max(last.end, ts + dur)
    else blocks.push({ kind, start: ts, end: ts + dur })
  }
  return blocks
}
