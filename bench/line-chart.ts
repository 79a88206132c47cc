/** Curves as SVG. */
export interface Axis {
  readonly title: string
  readonly from: number
  readonly to: number
  /** Where it is labelled. */
  readonly marks: readonly number[]
  readonly isLogarithmic?: boolean
}

export interface Curve {
  readonly name: string
  /** In black; the others have colours by their places. */
  readonly isOwn?: boolean
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

const [width, height, margin] = [820, 520, 64]
const colours = ['#c0392b', '#2471a3', '#b7950b', '#7d3c98', '#117a65']
const own = '#111111'

/** Puts a value of an axis between two coordinates. */
function along({ from, to, isLogarithmic = false }: Axis, begin: number, end: number) {
  const scaled = (value: number): number => (isLogarithmic ? Math.log10(value) : value)
  const length = scaled(to) - scaled(from)
  return (value: number): number =>
    begin + ((scaled(value) - scaled(from)) / length) * (end - begin)
}

export function lineChart(x: Axis, y: Axis, curves: readonly Curve[]): string {
  const [atX, atY] = [along(x, margin, width - margin), along(y, height - margin, margin)]
  const [bottom, right] = [height - margin, width - margin]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
      'font-family="sans-serif" font-size="13">',
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...x.marks.map((mark) => rule(atX(mark), margin, atX(mark), bottom)),
    ...x.marks.map((mark) => label(atX(mark), bottom + 20, String(mark), 'middle')),
    ...y.marks.map((mark) => rule(margin, atY(mark), right, atY(mark))),
    ...y.marks.map((mark) => label(margin - 8, atY(mark) + 4, mark.toLocaleString('en'), 'end')),
    label(width / 2, height - 16, x.title, 'middle'),
    label(margin, margin - 24, y.title, 'start'),
    ...curves.map((curve, i) => {
      const colour = curve.isOwn === true ? own : colours[i % colours.length]
      const at = curve.points.map((p) => [atX(p.x).toFixed(1), atY(p.y).toFixed(1)] as const)
      const name = curve.name
      return [
        `<polyline points="${at.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        ...at.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`),
        `<text x="${margin + 16}" y="${bottom - 16 - 18 * i}" fill="${colour}">${name}</text>`,
      ].join('\n')
    }),
    '</svg>',
    '',
  ].join('\n')
}

const rule = (x1: number, y1: number, x2: number, y2: number): string =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#dddddd"/>`
const label = (x: number, y: number, text: string, anchor: string): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#333333">${text}</text>`
