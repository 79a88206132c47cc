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

/** Of a logarithmic axis: 1, 10, 100, ... @type {(plot: uPlot, ticks: number[]) => (number | null)[]} */
const decades = (_, ticks) => ticks.map((y) => (Number.isInteger(Math.log10(y)) ? y : null))

/** @param {number} value */
const plain = (value) => (value < 1 && value !== 0 ? value.toFixed(3) : short(value))

/** Of a tick of the axis of values. @type {(y: number | null, format: typeof plain) => string} */
const label = (y, format) => {
  if (y === null) return ''
  return format === plain && y < 1 ? String(y) : format(y)
}

/** As other times of the page are written. @param {number} seconds Epoch seconds. */
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString()

/** @type {uPlot.Range.Config} */
const roomAbove = { min: { pad: 0.1, soft: 0, mode: 1 }, max: { pad: 0.1 } }

/** Of nothing but zeros uPlot's own axis goes to 100, whatever its hard limit. */
const shareOf =
  (/** @type {number} */ most) =>
  /** @type {uPlot.Range.Function} */
  (_, __, max) => [0, max > 0 ? Math.min(most, max * 1.1) : most]

export class Chart {
  /** @type {uPlot} */
  #plot
  /** Times of marks, in seconds. @type {number[]} */
  #marks = []

  /**
   * @param {HTMLElement} parent
   * @param {{ title: string, lines: Line[], log?: boolean, most?: number,
   *   format?: (value: number) => string }} options
   *   `color`: the name of a property of the style sheet; `log`: a logarithmic axis; `most`: where
   *   the axis ends; `format`: of values, with their unit
   */
  constructor(parent, { title, lines, log = false, format = plain, most = Infinity }) {
    const frame = element('div', { class: 'chart' }, element('h2', {}, title))
    parent.append(frame)
    const axis = {
      stroke: () => colorOf('--quiet'),
      grid: { stroke: () => colorOf('--line'), width: 1 },
      ticks: { stroke: () => colorOf('--line') },
    }
    /** Lines between the powers of ten are so near to one another that they make a grey block. */
    const valueAxis = log
      ? {
          ...axis,
          filter: decades,
          grid: { ...axis.grid, filter: decades },
          ticks: { ...axis.ticks, filter: decades },
        }
      : axis
    const text = (/** @type {number | null | undefined} */ y) =>
      y === null || y === undefined ? '–' : format(y)
    /** Of the point under the pointer, else of the newest. @type {uPlot.Series.Value} */
    const value = (plot, y, series, at) => text(at === null ? plot.data[series].at(-1) : y)
    this.#plot = new uPlot(
      {
        width: Math.max(280, frame.clientWidth - 34),
        height,
        // Half of the longest time: the last one stands at the edge.
        padding: [null, 40, null, null],
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
          y: log ? { distr: 3 } : { range: most === Infinity ? roomAbove : shareOf(most) },
        },
        axes: [
          { ...axis, space: 90, values: (_, ticks) => ticks.map(clock) },
          { ...valueAxis, size: 60, values: (_, ticks) => ticks.map((y) => label(y, format)) },
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
