import { assert, float, integer, property } from 'fast-check'
import { expect, test } from 'vitest'

import { absent } from '../../src/kernels/operands.ts'
import { KernelDesk, normals, range, slopes, worstError } from '../support/kernel-desk.ts'

interface Rows {
  readonly scores: number[]
  readonly columns: number
  readonly targets: number[]
  readonly weights: number[]
  readonly corrections: number[]
  readonly own: number[]
  readonly popularity: number[]
  readonly pulls: number[]
  readonly scale: number
  readonly normalizer: number
}
const plain = (scores: number[], columns: number, targets: number[]): Rows => ({
  scores,
  columns,
  targets,
  weights: targets.map(() => 1),
  corrections: range(columns).map(() => 0),
  own: targets.map(() => 0),
  popularity: [],
  pulls: targets.map(() => 0),
  scale: 1,
  normalizer: 1,
})

const run = (rows: Rows): { losses: number[]; gradients: number[]; pullGradients: number[] } => {
  const desk = new KernelDesk()
  const n = rows.targets.length
  const [scores, losses, pullGradients] = [desk.floats(rows.scores), desk.zeros(n), desk.zeros(n)]
  desk.kernels.softmaxLoss(
    scores.address,
    losses.address,
    rows.columns,
    desk.ints(rows.targets),
    desk.floats(rows.weights).address,
    desk.floats(rows.corrections).address,
    desk.floats(rows.own).address,
    rows.popularity.length > 0 ? desk.floats(rows.popularity).address : absent,
    desk.floats(rows.pulls).address,
    pullGradients.address,
    rows.scale,
    rows.normalizer,
    0,
    n,
  )
  return {
    losses: [...losses.view],
    gradients: [...scores.view],
    pullGradients: [...pullGradients.view],
  }
}

/** Weighted losses, from the definition. */
const losses = (rows: Rows): number[] =>
  rows.targets.map((target, i) => {
    const logits = range(rows.columns).map(
      (j) =>
        rows.scores[i * rows.columns + j] * rows.scale +
        (j === target ? rows.own[i] : rows.corrections[j]) +
        (rows.popularity.length > 0 ? rows.pulls[i] * rows.popularity[j] : 0),
    )
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0)
    return target < 0 ? 0 : rows.weights[i] * (Math.log(total) - logits[target])
  })
const mean = (rows: Rows): number =>
  rows.normalizer * losses(rows).reduce((sum, loss) => sum + loss, 0)

const rich: Rows = {
  scores: normals(7, 3 * 9, 2),
  columns: 9,
  targets: [4, 8, 0],
  weights: [1, 0.3, 2.5],
  corrections: normals(8, 9),
  own: normals(9, 3),
  popularity: normals(10, 9),
  pulls: normals(11, 3),
  scale: 1 / 0.6,
  normalizer: 1 / 3.8,
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

test('the golden case of two queries and two candidates', () => {
  const { losses: got } = run(plain([6, 3, 9, 5], 2, [0, 1]))
  expect(worstError(got, [-Math.log(sigmoid(3)), -Math.log(1 - sigmoid(4))])).toBeLessThan(1e-6)
})

test('losses with weights, corrections, popularity and temperature', () => {
  expect(worstError(run(rich).losses, losses(rich))).toBeLessThan(1e-5)
})

test('gradients are those of the mean loss by the scores and by the popularity weights', () => {
  const { gradients, pullGradients } = run(rich)
  expect(
    worstError(
      gradients,
      slopes((scores) => mean({ ...rich, scores }), rich.scores),
    ),
  ).toBeLessThan(1e-5)
  expect(
    worstError(
      pullGradients,
      slopes((pulls) => mean({ ...rich, pulls }), rich.pulls),
    ),
  ).toBeLessThan(1e-5)
})

test('a row without target gives neither loss nor gradient', () => {
  const { losses: got, gradients, pullGradients } = run({ ...rich, targets: [4, -1, 0] })
  expect(got[1]).toBe(0)
  expect(gradients.slice(9, 18)).toEqual(Array.from({ length: 9 }, () => 0))
  expect(pullGradients[1]).toBe(0)
})

test('a masked column has no part in the loss and no gradient', () => {
  const desk = new KernelDesk()
  const scores = desk.floats([1, 2, 3, 1, 2, 3])
  desk.kernels.maskPairs(scores.address, 3, desk.ints([0, 2, 1, 0]), 2, 0, 2)
  expect([...scores.view]).toEqual([1, 2, -Infinity, -Infinity, 2, 3])
  const { losses: got, gradients } = run(plain([1, 2, -Infinity], 3, [0]))
  expect(worstError(got, losses(plain([1, 2], 2, [0])))).toBeLessThan(1e-6)
  expect(gradients[2]).toBe(0)
})

test('what is not a number stays visible in the loss', () => {
  const { losses: got } = run(plain([1, NaN, 3], 3, [0]))
  expect(got).toEqual([NaN])
})

test('scores of any size give a finite loss', () => {
  assert(
    property(
      float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 100), max: 2 ** 100 }),
      integer({ min: 0, max: 2 }),
      (s, t) => {
        const { losses: got } = run(plain([s, 0, -s], 3, [t]))
        expect(Number.isFinite(got[0])).toBe(true)
      },
    ),
    { numRuns: 30 },
  )
})
