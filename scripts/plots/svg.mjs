// The little of SVG that the plots need. Colours are classes, so that one file is readable on light and dark pages.
const STYLE = `
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.quiet { fill: #59636e } .grid { stroke: #d1d9e0; stroke-width: 1 }
.a { fill: #0969da; stroke: #0969da } .b { fill: #bc4c00; stroke: #bc4c00 } .c { fill: #1a7f37; stroke: #1a7f37 } .d { fill: #818b98; stroke: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #3d444d }
  .a { fill: #4493f8; stroke: #4493f8 } .b { fill: #f0883e; stroke: #f0883e } .c { fill: #3fb950; stroke: #3fb950 } .d { fill: #656c76; stroke: #656c76 }
}
rect[x], path[d] { stroke: none } polyline[points] { fill: none; stroke-width: 2 }`

const escaped = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;')
const attributes = (given) =>
  Object.entries(given)
    .map(([name, value]) => ` ${name}="${typeof value === 'number' ? Number(value.toFixed(2)) : escaped(value)}"`)
    .join('')

export const element = (name, given, content = '') =>
  content === '' ? `<${name}${attributes(given)}/>` : `<${name}${attributes(given)}>${content}</${name}>`
export const text = (x, y, content, given = {}) => element('text', { x, y, ...given }, escaped(content))
export const line = (x1, y1, x2, y2) => element('line', { class: 'grid', x1, y1, x2, y2 })

/** A whole picture; `title` is what is read out in place of it. */
export const picture = (width, height, title, parts) =>
  `${element(
    'svg',
    { xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img' },
    ['', element('title', {}, escaped(title)), element('style', {}, STYLE), ...parts, ''].join('\n'),
  )}\n`

/** Boxes of classes and what they stand for, from the left. */
export const legend = (x, y, entries) =>
  entries.flatMap(([name, label], at) => [
    element('rect', { class: name, x: x + at * 170, y: y - 9, width: 10, height: 10 }),
    text(x + at * 170 + 15, y, label),
  ])
