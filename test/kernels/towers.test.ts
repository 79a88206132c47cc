import { assert, double, integer, property, record } from 'fast-check'
import { expect, test } from 'vitest'

import { seededRandom } from '../../src/base/random.ts'
import { Arena } from '../../src/kernels/arena.ts'
import { loadKernels, type Kernels } from '../../src/kernels/kernels.ts'
import { operationCode, programWords, softmaxWord } from '../../src/kernels/tower-kernels.ts'

const floatBytes = 4

interface Side {
  readonly arena: Arena
  readonly kernels: Kernels
}

function sideOf(implementation: 'wasm' | 'reference'): Side {
  const arena = new Arena(1 << 20)
  return { arena, kernels: loadKernels(arena, { implementation }) }
}

/** The kernels and their twins, each on a memory of its own that is filled alike. */
const sides = (): readonly [Side, Side] => [sideOf('wasm'), sideOf('reference')]

const randomFloats = (side: Side, length: number, seed: number, spread = 1) => {
  const block = side.arena.floats(length)
  const random = seededRandom(seed, length)
  for (let i = 0; i < length; i += 1) block.view[i] = spread * random.normal()
  return block
}

test('transposeRows, packRows and sumParts give the bits of their twins, however they are cut', () => {
  const shape = record({
    rows: integer({ min: 1, max: 23 }),
    columns: integer({ min: 1, max: 19 }),
    cut: integer({ min: 0, max: 23 }),
  })
  assert(
    property(shape, ({ rows, columns, cut }) => {
      const results = sides().map((side) => {
        const x = randomFloats(side, rows * columns, 1)
        const transposed = side.arena.floats(columns * 32)
        const panels = side.arena.floats(3 * (columns + 1) * 8)
        const packed = [panels.address, columns + 1, x.address, columns] as const
        const sum = side.arena.floats(columns)
        const middle = Math.min(cut, rows)
        const operands = [transposed.address, 32, x.address, columns] as const
        side.kernels.transposeRows(...operands, 0, middle)
        side.kernels.transposeRows(...operands, middle, rows)
        side.kernels.packRows(...packed, 0, middle)
        side.kernels.packRows(...packed, middle, rows)
        side.kernels.sumParts(sum.address, x.address, columns, rows, 0, Math.min(cut, columns))
        side.kernels.sumParts(
          sum.address,
          x.address,
          columns,
          rows,
          Math.min(cut, columns),
          columns,
        )
        return [transposed, panels, sum].map(({ view }) => Float32Array.from(view))
      })
      expect(results[0]).toEqual(results[1])
    }),
    { numRuns: 40 },
  )
})

/** The word that a float is. */
const real = (value: number): number => new Int32Array(Float32Array.of(value).buffer)[0]

/** Two programs: y = relu(x W) over 3 rows, then z = 2 y copied and cleared behind, over 5. */
function runTwoPrograms({ arena, kernels }: Side, cut: number): Float32Array {
  const x = randomFloats({ arena, kernels }, 3 * 4, 1)
  const w = randomFloats({ arena, kernels }, 4 * 6, 2)
  const y = arena.floats(3 * 6)
  const v = randomFloats({ arena, kernels }, 5 * 2, 3)
  const z = arena.floats(5 * 2)
  const code = operationCode
  const instructions = [
    [code('matmul'), 1, y.address, x.address, w.address, 3, 6, 4, 0],
    [code('biasActivation'), 1, y.address, y.address, 0, 6, 1],
    [code('scale'), 2, z.address, v.address, real(2.5)],
    [code('addScaled'), 2, z.address, v.address, real(-0.5)],
  ]
  const block = arena.ints(instructions.length * 16)
  for (const [i, words] of instructions.entries()) block.view.set(words, i * 16)
  const programs = arena.ints(2 * programWords)
  programs.view.set([3, 2, 2, block.address, 5, 4, 2, block.address + 2 * 16 * floatBytes])
  kernels.runPrograms(programs.address, 2, 0, cut)
  kernels.runPrograms(programs.address, 2, cut, 8)
  return Float32Array.from([...y.view, ...z.view])
}

/** 2.5 x - 0.5 x, rounded as the programs do. */
const twice = (x: number): number => Math.fround(Math.fround(x * 2.5) - Math.fround(x * 0.5))

test('programs run one behind the other, to the same bits however their rows are cut', () => {
  const [expected] = sides().map((side) => runTwoPrograms(side, 0))
  const v = randomFloats(sides()[0], 5 * 2, 3).view
  expect([...expected.subarray(18)]).toEqual(Array.from(v, twice))
  for (let cut = 1; cut <= 8; cut += 1) {
    for (const side of sides()) expect(runTwoPrograms(side, cut)).toEqual(expected)
  }
})

interface SoftmaxShape {
  readonly batch: number
  readonly columns: number
  readonly dim: number
  readonly groupRows: number
  readonly tileRows: number
  readonly popular: boolean
  readonly spread: number
  readonly hardNegatives: number
  readonly loss: number
  readonly heads: number
}

const outputs = ['losses', 'queryGradients', 'popularityWeightGradients', 'parts'] as const

function softmaxJob(side: Side, shape: SoftmaxShape) {
  const { batch, columns, dim, groupRows, tileRows, popular, spread, hardNegatives } = shape
  const { heads, loss } = shape
  const { arena } = side
  const groups = Math.ceil(batch / groupRows)
  const candidates = randomFloats(side, columns * dim, 1)
  // Two columns alike, so that some of the hardest are equally hard.
  candidates.view.copyWithin(dim, 0, dim)
  const depth = popular ? dim + 1 : dim
  const panels = side.arena.floats(depth * columns)
  const popularity = randomFloats(side, columns, 2)
  popularity.view[1] = popularity.view[0]
  side.kernels.packRows(panels.address, depth, candidates.address, dim, 0, columns)
  for (const [j, value] of popularity.view.entries()) {
    if (popular) panels.view[((j >> 3) * depth + dim) * 8 + (j & 7)] = value
  }
  const random = seededRandom(3)
  const targets = arena.ints(batch)
  for (let b = 0; b < batch; b += 1) targets.view[b] = random.integer(columns + 1) - 1
  const weights = randomFloats(side, batch, 4)
  weights.view[batch - 1] = 0
  const corrections = randomFloats(side, columns, 5, spread)
  corrections.view[1] = corrections.view[0]
  corrections.view.fill(-Infinity, columns - 3)
  const maskWords = Math.ceil(columns / 32)
  const masks = arena.words(batch * maskWords)
  for (const [b, target] of targets.view.entries()) {
    const masked = random.integer(columns)
    if (masked !== target) masks.view[b * maskWords + (masked >>> 5)] |= 1 << (masked & 31)
  }
  const blocks = {
    queries: randomFloats(side, batch * heads * dim, 6, spread),
    targetCorrections: randomFloats(side, batch, 7),
    popularityWeights: randomFloats(side, batch, 8),
    losses: arena.floats(batch),
    shares: arena.floats(batch),
    queryGradients: arena.floats(batch * heads * dim),
    popularityWeightGradients: arena.floats(batch),
    parts: arena.floats(groups * columns * dim),
    tiles: arena.floats(4 * Math.ceil((tileRows * heads) / 4) * (columns + 16 + dim + 1)),
  }
  const job = arena.ints(32)
  const plain = { batch, columns, dim, groupRows, tileRows, hardNegatives, loss, heads }
  const set = (word: keyof typeof softmaxWord, value: number): void => {
    job.view[softmaxWord[word]] = value
  }
  for (const [word, value] of Object.entries(plain)) {
    set(word as keyof typeof softmaxWord, value)
  }
  const others = { candidates, panels, targets, weights, corrections, masks }
  for (const [word, { address }] of Object.entries({ ...blocks, ...others })) {
    set(word as keyof typeof softmaxWord, address)
  }
  set('maskWords', maskWords)
  set('popularity', popular ? popularity.address : 0)
  new Float32Array(job.view.buffer, job.address)[softmaxWord.perTemperature] = 2.5
  return { job: job.address, result: () => outputs.map((name) => Array.from(blocks[name].view)) }
}

const softmaxShape = record({
  batch: integer({ min: 1, max: 13 }),
  columns: integer({ min: 1, max: 4 }).map((sixteens) => 16 * sixteens),
  dim: integer({ min: 1, max: 9 }),
  groupRows: integer({ min: 1, max: 2 }).map((quads) => 4 * quads),
  tileRows: integer({ min: 1, max: 2 }).map((quads) => 4 * quads),
  popular: integer({ min: 0, max: 1 }).map((bit) => bit === 1),
  spread: double({ min: 0.1, max: 30, noNaN: true }),
  hardNegatives: integer({ min: 0, max: 5 }).map((n) => (n < 5 ? n : 40)),
  loss: integer({ min: 0, max: 2 }),
  heads: integer({ min: 1, max: 4 }),
})

test('the softmax gives the bits of its twin, whatever the tile and the split', () => {
  assert(
    property(softmaxShape, (shape) => {
      const [wasm, reference] = sides()
      const whole = softmaxJob(wasm, shape)
      wasm.kernels.softmaxGroups(whole.job, 0, shape.batch)
      const twin = softmaxJob(reference, shape)
      reference.kernels.softmaxGroups(twin.job, 0, shape.batch)
      expect(whole.result()).toEqual(twin.result())

      const [other] = sides()
      const split = softmaxJob(other, { ...shape, tileRows: shape.tileRows + 4 })
      for (let row = shape.batch - 1; row >= 0; row -= 1) {
        other.kernels.softmaxGroups(split.job, row, row + 1)
      }
      expect(split.result()).toEqual(whole.result())
    }),
    { numRuns: 60 },
  )
})

test('a score that is no number makes the loss and the gradients none', () => {
  const [side] = sides()
  const shape = {
    batch: 4,
    columns: 16,
    dim: 3,
    groupRows: 4,
    tileRows: 4,
    popular: false,
    spread: 1,
    hardNegatives: 0,
    loss: 0,
    heads: 1,
  }
  const { job, result } = softmaxJob(side, shape)
  const queries = new Int32Array(side.arena.memory.buffer, job)[softmaxWord.queries]
  const targets = new Int32Array(side.arena.memory.buffer, job)[softmaxWord.targets]
  const weights = new Int32Array(side.arena.memory.buffer, job)[softmaxWord.weights]
  new Int32Array(side.arena.memory.buffer, targets, 1)[0] = 2
  new Float32Array(side.arena.memory.buffer, weights, 1)[0] = 1
  new Float32Array(side.arena.memory.buffer, queries, 1)[0] = NaN
  side.kernels.softmaxGroups(job, 0, 4)
  const [losses, gradients] = result()
  expect(losses[0]).toBeNaN()
  expect(gradients.slice(0, 3)).toEqual([NaN, NaN, NaN])
})

test('clear writes zeros in its range alone', () => {
  for (const { arena, kernels } of sides()) {
    const x = arena.floats(6)
    x.view.fill(7)
    kernels.clear(x.address, 2, 5)
    expect([...x.view]).toEqual([7, 7, 0, 0, 0, 7])
  }
})
