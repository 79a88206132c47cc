/** Prometheus' text format (version 0.0.4) for metrics that are read whole at each scrape. */

/** Label values in the order of the family's label names, and the value. */
export type Sample = readonly [labels: readonly string[], value: number]

export interface Family {
  readonly kind: 'gauge' | 'counter'
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  readonly samples: readonly Sample[]
}

/** Counts of values by size. `counts[i]` are those up to `bounds[i]` and above the bound before. */
export interface HistogramView {
  readonly bounds: ArrayLike<number>
  /** One per bound, and one more for what is above the last. */
  readonly counts: ArrayLike<number>
  readonly sum: number
  readonly count: number
}

export interface HistogramFamily {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  /** Multiplies bounds and sum: .001 for a histogram of milliseconds shown in seconds. */
  readonly scale: number
  readonly series: readonly (readonly [labels: readonly string[], histogram: HistogramView])[]
}

/** Of a finer histogram every second, third, ... bound is shown: each is a series to a scraper. */
const shownBounds = 20

/** Families without samples are left out. */
export function familyText({ kind, name, help, labelNames, samples }: Family): string {
  if (samples.length === 0) return ''
  const lines = samples.map(([labels, value]) => {
    const label = pairs(labelNames, labels)
    return `${name}${label === '' ? '' : `{${label}}`} ${text(value)}`
  })
  return `${heading(name, help, kind)}${lines.join('\n')}\n`
}

export function histogramText(family: HistogramFamily): string {
  const { name, help, series } = family
  if (series.length === 0) return ''
  return heading(name, help, 'histogram') + series.map((one) => seriesText(family, one)).join('')
}

function seriesText(
  { name, labelNames, scale }: HistogramFamily,
  [values, { bounds, counts, sum, count }]: readonly [readonly string[], HistogramView],
): string {
  const label = pairs(labelNames, values)
  const lines: string[] = []
  const step = Math.ceil(bounds.length / shownBounds)
  let below = 0
  for (let i = 0; i < bounds.length; i += 1) {
    below += counts[i]
    if ((i + 1) % step !== 0) continue
    // Without this, 20 * .001 would be shown as 0.020000000000000004.
    const bound = Number((bounds[i] * scale).toPrecision(6))
    lines.push(`${name}_bucket{${label},le="${bound}"} ${below}`)
  }
  lines.push(
    `${name}_bucket{${label},le="+Inf"} ${count}`,
    `${name}_sum{${label}} ${text(sum * scale)}`,
    `${name}_count{${label}} ${count}`,
  )
  return `${lines.join('\n')}\n`
}

const heading = (name: string, help: string, kind: string): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`

const pairs = (names: readonly string[], values: readonly string[]): string =>
  names.map((name, i) => pair(name, values[i] ?? '')).join(',')

const pair = (name: string, value: string): string =>
  `${name}="${value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')}"`

const text = (value: number): string => {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}
