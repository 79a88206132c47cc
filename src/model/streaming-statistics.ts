/**
 * What a stream of numbers has shown so far: how many there were, mean and variance as exponential
 * averages (West 1979; plain ones while there are few), and the bounds of buckets that hold equally
 * many. A bound is a quantile by stochastic approximation (Robbins and Monro 1951; Tierney 1983):
 * every number below it moves it down by 1 - p of a step, every other up by p, steps in units of
 * the deviation. All of it is f32 among a model's weights; nothing depends on anything else.
 */

/** Views into a model's weights. */
export interface Statistics {
  /** Up to `longest`. */
  readonly count: Float32Array
  readonly mean: Float32Array
  readonly variance: Float32Array
  /** Ascending, one fewer than there are buckets. */
  readonly bounds: Float32Array
}

/** Numbers that the averages reach back over. */
const longest = 10_000
/** Of a bound, in deviations, by the weight of a number in the averages. */
const boundStep = 2
/** The most that one number weighs in moving a bound. */
const fastest = 0.02

/** Floats of it. */
export const statisticsSize = (buckets: number): number => 3 + buckets - 1

export function statisticsOf(weights: Float32Array, at: number, buckets: number): Statistics {
  return {
    count: weights.subarray(at, at + 1),
    mean: weights.subarray(at + 1, at + 2),
    variance: weights.subarray(at + 2, at + 3),
    bounds: weights.subarray(at + 3, at + statisticsSize(buckets)),
  }
}

/** 0 to bounds.length. */
export function bucketIn({ bounds }: Statistics, value: number): number {
  let bucket = 0
  while (bucket < bounds.length && value >= bounds[bucket]) bucket += 1
  return bucket
}

/** Takes in the numbers of a batch, in their order. */
export function measureValues(statistics: Statistics, values: Float64Array): void {
  const { count, bounds } = statistics
  const isFirst = count[0] === 0
  for (const value of values) {
    measure(statistics, value)
    if (!isFirst) moveBounds(statistics, value)
  }
  if (isFirst && bounds.length > 0) placeBounds(bounds, values)
  bounds.set(bounds.toSorted())
}

/** Before anything is known: the quantiles of the first batch. */
function placeBounds(bounds: Float32Array, values: Float64Array): void {
  const sorted = values.toSorted()
  for (let i = 0; i < bounds.length; i += 1) {
    bounds[i] = sorted[Math.floor(((i + 1) * sorted.length) / (bounds.length + 1))]
  }
}

function measure({ count, mean, variance }: Statistics, value: number): void {
  count[0] = Math.min(longest, count[0] + 1)
  const rate = 1 / count[0]
  const difference = value - mean[0]
  mean[0] += rate * difference
  variance[0] = (1 - rate) * (variance[0] + rate * difference * difference)
}

function moveBounds({ count, variance, bounds }: Statistics, value: number): void {
  const step = boundStep * Math.min(fastest, 1 / count[0]) * Math.sqrt(variance[0])
  for (let i = 0; i < bounds.length; i += 1) {
    const share = (i + 1) / (bounds.length + 1)
    bounds[i] += step * (value < bounds[i] ? share - 1 : share)
  }
}
