/** Lines over time. */
import { element, short } from './dom.js'

const height = 170

/**
 * @typedef {{ label: string, color: string }} Line
 */

const probe = element('span', { hidden: true })
document.body.append(probe)

/** What a property of the style sheet is now: a canvas knows no variables, and light from dark. */
function colorOf(/** @type {string} */ property) {
  probe.style.color = `var(${property})`
  return getComputedStyle(probe).color
}

/** Of a logarithmic axis: 1, 10, 100, ... @param {number[]} ticks */
const decades = (ticks) => ticks.map((y) => (Number.isInteger(Math.log10(y)) ? y : null))

export class Chart {
  /** @type {uPlot} */
  #plot
  /** Times of marks, in seconds. @type {number[]} */
  #marks = []

  /**
   * @param {HTMLElement} parent
   * @param {{ title: string, lines: Line[], log?: boolean, unit?: string, most?: number }} options
   *   `color`: the name of a property of the style sheet; `log`: a logarithmic axis; `most`: where
   *   the axis ends
   */
  constructor(parent, { title, lines, log = false, unit = '', most = Infinity }) {
    const frame = element('div', { class: 'chart' }, element('h2', {}, title))
    parent.append(frame)
    const axis = {
      stroke: () => colorOf('--quiet'),
      grid: { stroke: () => colorOf('--line'), width: 1 },
      ticks: { stroke: () => colorOf('--line') },
    }
    const text = (/** @type {number | null | undefined} */ y) =>
      y === null || y === undefined ? '–' : `${y < 1 && y !== 0 ? y.toFixed(3) : short(y)}${unit}`
    /** Of the point under the pointer, else of the newest. @type {uPlot.Series.Value} */
    const value = (plot, y, series, at) => text(at === null ? plot.data[series].at(-1) : y)
    this.#plot = new uPlot(
      {
        width: Math.max(280, frame.clientWidth - 34),
        height,
        series: [
          { label: 'time' },
          ...lines.map((line) => ({
            label: line.label,
            stroke: () => colorOf(line.color),
            width: 1.5,
            value,
          })),
        ],
        scales: {
          y: log
            ? { distr: 3 }
            : { range: { min: { pad: 0.1, soft: 0, mode: 1 }, max: { pad: 0.1, hard: most } } },
        },
        axes: [
          axis,
          {
            ...axis,
            size: 56,
            ...(log ? { filter: (_, ticks) => decades(ticks) } : {}),
            values: (_, ticks) =>
              ticks.map((y) => (y === null ? '' : y < 1 && y !== 0 ? String(y) : short(y))),
          },
        ],
        hooks: { draw: [(plot) => this.#drawMarks(plot)] },
      },
      [[], ...lines.map(() => [])],
      frame,
    )
    new ResizeObserver(() => {
      if (frame.clientWidth > 0) this.#plot.setSize({ width: frame.clientWidth - 34, height })
    }).observe(frame)
  }

  /**
   * @param {number[]} seconds Epoch seconds of the points.
   * @param {(number | null)[][]} values One list for each line.
   * @param {number[]} [marks] Epoch seconds of what happened.
   */
  show(seconds, values, marks = []) {
    this.#marks = marks
    this.#plot.setData([seconds, ...values])
  }

  /** Colours may have changed. */
  redraw() {
    this.#plot.redraw()
  }

  /** @param {uPlot} plot */
  #drawMarks(plot) {
    const { ctx, bbox } = plot
    ctx.save()
    ctx.strokeStyle = colorOf('--warn')
    ctx.setLineDash([4, 4])
    for (const mark of this.#marks) {
      const x = plot.valToPos(mark, 'x', true)
      ctx.beginPath()
      ctx.moveTo(x, bbox.top)
      ctx.lineTo(x, bbox.top + bbox.height)
      ctx.stroke()
    }
    ctx.restore()
  }
}
