import { assert, integer, property } from 'fast-check'
import { expect, test } from 'vitest'

import type { LossSpec } from '../../src/model/spec.ts'
import type { Example, Item } from '../../src/stream/example.ts'
import { type ActiveItems, ColumnBuilder } from '../../src/trainer/negatives.ts'
import { SamplingBias } from '../../src/trainer/sampling-bias.ts'
import { spec } from '../support/trainer.ts'

const item = (handle: number): Item => ({
  handle,
  id: `item-${handle}`,
  revision: 0,
  features: {},
  attributes: {},
  hidden: false,
  expiresAt: Infinity,
  crowdingTag: undefined,
  firstSeenAt: 0,
})

const example = (handle: number, changes: Partial<Example> = {}): Example => ({
  index: 0,
  query: { userId: 'u', userFeatures: {}, history: [], context: {}, timestamp: 0 },
  item: item(handle),
  user: 0,
  seen: new Int32Array(0),
  type: 'click',
  weight: 1,
  isNewItem: false,
  itemInteractions: 5,
  itemPopularity: 1,
  isRepeat: false,
  isNewUser: false,
  acceptedAt: 0,
  ...changes,
})

/** All of `size` items are active. */
const catalogue = (size: number): ActiveItems => ({
  activeSize: size,
  active: (index) => index,
  byHandle: item,
  interactions: () => 0,
})

const builder = (changes: Partial<LossSpec> = {}): ColumnBuilder =>
  new ColumnBuilder({
    loss: { ...spec.loss, newItemPull: 0, ...changes },
    seed: 3,
    maxExamples: 64,
    handleCapacity: 1000,
  })

const build = (
  examples: readonly Example[],
  changes: Partial<LossSpec> = {},
  { active = 100, step = 1 } = {},
) => builder(changes).build(examples, catalogue(active), new SamplingBias({ cells: 1024 }), step)

test('columns are the distinct items of the examples, then distinct draws', () => {
  const columns = build([example(5), example(7), example(5)])
  expect([...columns.targets]).toEqual([0, 1, 0])
  expect([...columns.handles.subarray(0, 2)]).toEqual([5, 7])
  expect(columns.exampleItems).toBe(2)
  expect(new Set(columns.handles).size).toBe(columns.handles.length)
  expect(columns.items.map(({ handle }) => handle)).toEqual([...columns.handles])
  expect(columns.handles.length).toBeGreaterThan(10)
})

test('the same seed and step draw the same, another step draws others', () => {
  const [first, again, other] = [4, 4, 5].map((step) => build([example(1)], {}, { step }).handles)
  expect(again).toEqual(first)
  expect(other).not.toEqual(first)
})

test('draws are uniform over the active catalogue', () => {
  const subject = builder({ extraNegatives: 50 })
  const counts = new Float64Array(200)
  const bias = new SamplingBias({ cells: 1024 })
  for (let step = 0; step < 2000; step += 1) {
    const { handles, exampleItems } = subject.build([], catalogue(200), bias, step)
    for (const handle of handles.subarray(exampleItems)) counts[handle] += 1
  }
  // Each is included with 1 - (1 - 1/200)^50 = .2217; four standard deviations are .037.
  for (const count of counts) expect(Math.abs(count / 2000 - 0.2217)).toBeLessThan(0.045)
})

/** Item h was interacted with h times: by the power of a half it weighs the root of h + 1. */
const byPower = () => ({
  subject: builder({ negativesAlpha: 0.5, extraNegatives: 20 }),
  counted: { ...catalogue(99), interactions: (handle: number) => handle },
  perDraw: (handle: number) => {
    const total = Array.from({ length: 99 }, (_, i) => Math.sqrt(i + 1)).reduce((a, b) => a + b)
    return Math.sqrt(handle + 1) / total
  },
})

test('draws by a power of the interactions are as often as that says', () => {
  const { subject, counted, perDraw } = byPower()
  const counts = new Float64Array(99)
  const bias = new SamplingBias({ cells: 1024 })
  for (let step = 0; step < 4000; step += 1) {
    const { handles, exampleItems } = subject.build([], counted, bias, step)
    for (const handle of handles.subarray(exampleItems)) counts[handle] += 1
  }
  for (const [handle, count] of counts.entries()) {
    const inclusion = 1 - (1 - perDraw(handle)) ** 20
    const deviation = Math.sqrt((inclusion * (1 - inclusion)) / 4000)
    expect(Math.abs(count / 4000 - inclusion)).toBeLessThan(4 * deviation)
  }
})

test('and are corrected by how likely each was', () => {
  const bias = new SamplingBias({ cells: 1024 })
  const included = byPower()
  const { handles, corrections, exampleItems } = included.subject.build(
    [],
    included.counted,
    bias,
    1,
  )
  for (let c = exampleItems; c < handles.length; c += 1) {
    const inclusion = 1 - (1 - included.perDraw(handles[c])) ** 20
    expect(corrections[c]).toBeCloseTo(-Math.log(inclusion), 5)
  }
  const alone = builder({ negativesAlpha: 0.5, extraNegatives: 1, correction: 'logq' })
  const drawn = alone.build([], included.counted, bias, 1)
  expect(drawn.corrections[0]).toBeCloseTo(-Math.log(included.perDraw(drawn.handles[0])), 5)
})

test('inclusion: a drawn column is corrected by its probability to be drawn, a target by none', () => {
  const { corrections, targetCorrections, exampleItems } = build([example(5)])
  expect(corrections[0]).toBeCloseTo(0, 6)
  expect([...targetCorrections]).toEqual([0])
  const inclusion = 1 - (1 - 1 / 100) ** 20
  for (const c of corrections.subarray(exampleItems)) expect(c).toBeCloseTo(-Math.log(inclusion), 5)
})

test('logq: the mixture of stream and draws, and how often a column came', () => {
  const bias = new SamplingBias({ rate: 1 })
  for (let i = 0; i < 100; i += 1) bias.observe(i % 4)
  const subject = builder({ correction: 'logq', extraNegatives: 0 })
  const { corrections, targetCorrections } = subject.build(
    [example(0), example(1), example(0)],
    catalogue(100),
    bias,
    1,
  )
  // Two examples further, item 0 has come after a gap of 2, item 1 after a gap of 4.
  expect(corrections[0]).toBeCloseTo(Math.log(2) + Math.log(2), 5)
  expect(corrections[1]).toBeCloseTo(Math.log(4), 5)
  expect([...targetCorrections].map((c) => Math.exp(c))).toEqual([
    expect.closeTo(2, 4),
    expect.closeTo(4, 4),
    expect.closeTo(2, 4),
  ])
})

/** Of an item that has come so often in a row, or not yet. */
function correctionAfter(seen: number, initialGap: number): number {
  const bias = new SamplingBias({ cells: 1024, rate: 1, initialGap })
  for (let i = 0; i < seen; i += 1) bias.observe(0)
  const subject = builder({ correction: 'logq', extraNegatives: 0 })
  return subject.build([example(0)], catalogue(100), bias, 1).targetCorrections[0]
}

test('logq: nothing counts for rarer than one in a million, or for more than certain', () => {
  expect(correctionAfter(0, 1e9)).toBeCloseTo(Math.log(1e6), 5)
  expect(correctionAfter(0, 1e5)).toBeCloseTo(Math.log(1e5), 5)
  expect(Math.abs(correctionAfter(10, 1e9))).toBe(0)
})

test('none: only how often a column came', () => {
  const { corrections, targetCorrections } = build([example(5), example(5), example(6)], {
    correction: 'none',
    extraNegatives: 0,
  })
  expect([...corrections].map(Math.abs)).toEqual([expect.closeTo(Math.log(2), 6), 0])
  expect([...targetCorrections].map(Math.abs)).toEqual([0, 0, 0])
})

test('without inBatch the other targets are no negatives unless they are drawn', () => {
  const { corrections, targets } = build([example(500), example(501)], {
    inBatch: false,
    correction: 'inclusion',
  })
  expect([...targets]).toEqual([0, 1])
  expect([...corrections.subarray(0, 2)]).toEqual([-Infinity, -Infinity])
})

test('what a user has seen is masked, and a repeat is not trained on', () => {
  const { masked, targets, weights } = build(
    [
      example(5, { seen: Int32Array.of(6, 999) }),
      example(6),
      example(5, { seen: Int32Array.of(5), isRepeat: true }),
    ],
    { extraNegatives: 0 },
  )
  expect([...masked]).toEqual([0, 1])
  expect([...targets]).toEqual([0, 1, -1])
  expect([...weights]).toEqual([1, 1, 0])
})

test('without maskSeen nothing is masked and repeats are trained on', () => {
  const examples = [example(5, { seen: Int32Array.of(5, 6), isRepeat: true }), example(6)]
  const { masked, targets } = build(examples, { maskSeen: false, extraNegatives: 0 })
  expect([...masked]).toEqual([])
  expect([...targets]).toEqual([0, 1])
})

test('a new item is pulled by all its examples of the batch and is no negative', () => {
  const examples = [example(5, { itemInteractions: 0, isNewItem: true }), example(6), example(5)]
  const { pulls, targets, corrections } = build(examples, { newItemPull: 1, extraNegatives: 0 })
  expect([...pulls]).toEqual([0, 0, 2, 0])
  expect([...targets]).toEqual([-1, 1, -1])
  expect(corrections[0]).toBe(-Infinity)
  expect(corrections[1]).toBeCloseTo(0, 6)
})

test('weights are those of the type times those of the event', () => {
  const examples = [
    example(1, { weight: 2 }),
    example(2, { type: 'view' }),
    example(3, { type: 'buy' }),
    example(4, { type: 'toString' }),
  ]
  const { weights } = build(examples, { typeWeights: { click: 1, buy: 5, other: 0.5 } })
  expect([...weights]).toEqual([2, 0.5, 5, 0.5])
})

test('an example without weight is neither trained on nor observed', () => {
  const bias = new SamplingBias({ cells: 1024 })
  const { targets } = builder().build([example(1, { weight: 0 })], catalogue(9), bias, 1)
  expect([...targets]).toEqual([-1])
  expect(bias.examples).toBe(0)
})

test('an empty catalogue gives no draws and no NaN', () => {
  const { corrections, handles } = build([example(1)], {}, { active: 0 })
  expect([...handles]).toEqual([1])
  expect([...corrections]).toEqual([expect.closeTo(0, 6)])
})

test('corrections are finite numbers or say that a column is no negative', () => {
  assert(
    property(
      integer({ min: 0, max: 3 }),
      integer({ min: 0, max: 60 }),
      (active, extraNegatives) => {
        for (const correction of ['logq', 'inclusion', 'none'] as const) {
          const { corrections, targetCorrections } = build(
            [example(0), example(900)],
            { correction, extraNegatives },
            { active },
          )
          for (const c of [...corrections, ...targetCorrections]) expect(c).not.toBeNaN()
        }
      },
    ),
  )
})

test('one builder serves batch after batch', () => {
  const subject = builder({ extraNegatives: 5 })
  const bias = new SamplingBias({ cells: 1024 })
  const first = [...subject.build([example(1), example(2)], catalogue(50), bias, 1).handles]
  const second = [...subject.build([example(2)], catalogue(50), bias, 1).handles]
  expect(first.slice(0, 2)).toEqual([1, 2])
  expect(second[0]).toBe(2)
})

test('what speaks against its item is no positive, but pushes it away', () => {
  const examples = [
    example(5),
    example(7, { type: 'dislike', weight: 2 }),
    example(5, { type: 'hide' }),
    example(8, { type: 'ignored' }),
  ]
  const columns = build(examples, { negativeTypes: { dislike: 0.5, hide: 3, ignored: 0 } })
  expect([...columns.targets]).toEqual([0, -1, -1, -1])
  expect([...columns.weights]).toEqual([1, 0, 0, 0])
  expect([...(columns.pushes?.pairs ?? [])]).toEqual([1, 1, 2, 0])
  expect([...(columns.pushes?.weights ?? [])]).toEqual([1, 3])
  // Nobody else's negative either, unless it was drawn.
  const alone = build(examples, { negativeTypes: { dislike: 1 }, extraNegatives: 0 })
  expect(alone.corrections[1]).toBe(-Infinity)
})

test('a batch without any has no pushes, also after one that had some', () => {
  const columns = builder({ negativeTypes: { dislike: 1 } })
  const bias = new SamplingBias({ cells: 1024 })
  const batch = (type: string) => columns.build([example(5, { type })], catalogue(10), bias, 1)
  expect(batch('dislike').pushes).toBeDefined()
  expect(batch('click').pushes).toBeUndefined()
})
