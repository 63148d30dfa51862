import { element, legend, line, picture, text } from './svg.mjs'

const PANEL = { width: 230, height: 220, gap: 40, left: 40, top: 60 }
const TICKS = [0.2, 0.5, 1, 2, 5, 10, 20, 50]
const NAMES = { bf16: 'BF16', q8: 'Q8', q4: 'Q4' }

/**
 * Tokens per second against the memory that a process may use: a panel for each dtype, ours and llama.cpp.
 * `records` are of the benches over-memory and resident; where a dtype has none of the latter, its line ends at 90%.
 */
export function limitsPlot(records) {
  const streamed = records.filter(({ bench }) => bench === 'over-memory')
  const panels = Object.keys(NAMES).flatMap((dtype) => streamed.filter((record) => record.dtype === dtype))
  const series = panels.map((record) => {
    const resident = records.find(({ bench, dtype }) => bench === 'resident' && dtype === record.dtype)
    const stops = ['30%', '60%', '90%'].map((limit) => record.limits[limit].medians)
    const all = [...stops, ...(resident ? [resident.medians] : [])]
    return { record, ours: all.map((one) => one.tokensPerSecond), theirs: all.map((one) => one.llamaCppTokensPerSecond) }
  })
  const values = series.flatMap(({ ours, theirs }) => [...ours, ...theirs]).filter((value) => value !== undefined)
  const [low, high] = [TICKS.findLast((tick) => tick <= Math.min(...values)), TICKS.find((tick) => tick >= Math.max(...values))]
  const y = (value) => PANEL.top + PANEL.height * (1 - Math.log(value / low) / Math.log(high / low))
  const parts = series.flatMap(({ record, ours, theirs }, at) => {
    const left = PANEL.left + at * (PANEL.width + PANEL.gap)
    const x = (index) => left + 20 + (index * (PANEL.width - 40)) / 3
    const curve = (name, points) => {
      const known = points.map((value, index) => [value, index]).filter(([value]) => value !== undefined)
      return [
        element('polyline', {
          class: name,
          points: known.map(([value, index]) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(' '),
        }),
        ...known.map(([value, index]) => element('circle', { class: name, cx: x(index), cy: y(value), r: 3 })),
        ...known.map(([value, index]) =>
          text(x(index), y(value) + (name === 'a' ? -8 : 16), value.toPrecision(2), { 'text-anchor': 'middle' }),
        ),
      ]
    }
    return [
      text(left, PANEL.top - 12, `${NAMES[record.dtype]}, ${(record.weightsMB / 1000).toFixed(2)} GB`, { 'font-weight': 'bold' }),
      ...TICKS.filter((tick) => tick >= low && tick <= high).flatMap((tick) => [
        line(left, y(tick), left + PANEL.width, y(tick)),
        text(left - 6, y(tick) + 4, tick, { class: 'quiet', 'text-anchor': 'end' }),
      ]),
      ...['30%', '60%', '90%', 'no limit'].map((label, index) =>
        text(x(index), PANEL.top + PANEL.height + 18, label, { class: 'quiet', 'text-anchor': 'middle' }),
      ),
      ...curve('b', theirs),
      ...curve('a', ours),
    ]
  })
  const [{ record }] = series
  const width = PANEL.left + panels.length * (PANEL.width + PANEL.gap)
  return picture(width, PANEL.top + PANEL.height + 56, 'Tokens per second against the memory limit', [
    ...legend(PANEL.left, 20, [
      ['a', 'module-assets'],
      ['b', 'llama.cpp'],
    ]),
    ...parts,
    text(
      PANEL.left,
      PANEL.top + PANEL.height + 44,
      `tokens/s; the limit is a part of the weights' bytes; ${record.cores} cores (${record.cpu}), ${record.date}`,
      { class: 'quiet' },
    ),
  ])
}
