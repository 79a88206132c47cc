/** Draws the report of a replay: the figures lie in the page, uPlot beside them. */

/**
 * @typedef {{ model: number, recentlyPopular: number, coVisitation: number }} Figures
 * @typedef {{ startsAt: number, evaluated: number, loss: number, hr10: Figures, ndcg10: Figures,
 *   mrr10: Figures }} Hour
 * @typedef {Record<string, number>} Ranking
 * @typedef {{ progressive: Ranking, hours: Hour[],
 *   baselines: { recentlyPopular: Ranking, coVisitation: Ranking } }} Replay
 */

const height = 240

/** @type {Replay} */
const report = JSON.parse(document.getElementById('report')?.textContent ?? '{}')

/** What a property of the style sheet is now: a canvas knows no variables, nor light from dark. */
function colorOf(/** @type {string} */ property) {
  const probe = document.createElement('span')
  probe.style.color = `var(${property})`
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

const axis = {
  stroke: () => colorOf('--quiet'),
  grid: { stroke: () => colorOf('--line'), width: 1 },
  ticks: { stroke: () => colorOf('--line') },
}

const lines = [
  { label: 'model', color: '--model' },
  { label: 'recently popular', color: '--popular' },
  { label: 'co-visitation', color: '--covisited' },
]

/** @param {Figures} figures */
const three = (figures) => [figures.model, figures.recentlyPopular, figures.coVisitation]

/**
 * @param {string} id of the element that it is put into
 * @param {number[]} x
 * @param {{ label: string, color: string, values: (number | null)[], bars?: boolean }[]} drawn
 * @param {{ x: string, cutoffs?: boolean }} options `cutoffs`: x is a logarithm, not a time
 */
function draw(id, x, drawn, { x: label, cutoffs = false }) {
  const parent = document.getElementById(id)
  if (parent === null) return
  const series = drawn.map(({ label: name, color, bars = false }) => ({
    label: name,
    stroke: () => colorOf(color),
    width: bars ? 0 : 1.75,
    ...(bars && { paths: uPlot.paths.bars?.({ size: [0.8] }), fill: () => colorOf(color) }),
    points: { show: cutoffs },
    value: (/** @type {uPlot} */ _, /** @type {number | null} */ y) =>
      y === null ? '–' : y >= 100 ? y.toLocaleString('en') : y.toFixed(4),
  }))
  const scales = {
    x: cutoffs ? { time: false, distr: 3 } : { time: true },
    y: { range: { min: { soft: 0, mode: 1, pad: 0.1 }, max: { pad: 0.1 } } },
  }
  const options = {
    width: parent.clientWidth,
    height,
    tzDate: (/** @type {number} */ seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
    series: [{ label }, ...series],
    scales,
    axes: [axis, { ...axis, size: 60 }],
  }
  // @ts-expect-error: uPlot's types want ranges to be whole
  const plot = new uPlot(options, [x, ...drawn.map(({ values }) => values)], parent)
  addEventListener('resize', () => plot.setSize({ width: parent.clientWidth, height }))
}

/** Hours in which so few were ranked say nothing: a gap. */
const fewest = 20

/** @param {'hr10' | 'ndcg10' | 'mrr10'} name */
function drawByHour(name) {
  const { hours } = report
  const drawn = lines.map((line, i) => ({
    ...line,
    values: hours.map((hour) => (hour.evaluated < fewest ? null : three(hour[name])[i])),
  }))
  draw(name, times, drawn, { x: 'hour (UTC)' })
}

const times = report.hours.map(({ startsAt }) => startsAt / 1000)
for (const name of /** @type {const} */ (['hr10', 'ndcg10', 'mrr10'])) drawByHour(name)
const losses = report.hours.map(({ loss }) => (loss === 0 ? null : loss))
draw('loss', times, [{ label: 'loss', color: '--model', values: losses }], { x: 'hour (UTC)' })
const ranked = report.hours.map(({ evaluated }) => evaluated)
const bars = { label: 'ranked', color: '--quiet', values: ranked, bars: true }
draw('evaluated', times, [bars], { x: 'hour (UTC)' })

const cutoffs = [1, 5, 10, 20, 50, 100]
const { progressive, baselines } = report
const curves = [progressive, baselines.recentlyPopular, baselines.coVisitation]
draw(
  'cutoffs',
  cutoffs,
  lines.map(({ label, color }, i) => ({
    label,
    color,
    values: cutoffs.map((k) => curves[i][`hr${k}`]),
  })),
  { x: 'k', cutoffs: true },
)
