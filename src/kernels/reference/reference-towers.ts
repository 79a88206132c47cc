/** The twins of assembly/programs.ts and assembly/softmax-groups.ts. */
import { present } from '../../base/assert.ts'
import { activationCode, type ActivationCode, type DenseKernels } from '../dense-kernels.ts'
import type { Flag } from '../operands.ts'
import {
  instructionWords,
  lossCode,
  operationNames,
  programWords,
  softmaxWord,
  type Operation,
  type TowerKernels,
} from '../tower-kernels.ts'
import { dot32, exp32, log32, polynomial, sumLanes } from './reference-exp-log.ts'
import { keepHardest, pairwiseRow } from './reference-row-losses.ts'

const { fround } = Math

type Words = Uint32Array
type Operand = (index: number) => number
/** A kernel that reads its operands from an instruction, as integers or as floats. */
type Twin = (integer: Operand, float: Operand, from: number, to: number) => void
type ProgramKernels = DenseKernels & Pick<TowerKernels, 'transposeRows' | 'packRows' | 'sumParts'>

interface Memory {
  readonly floats: Float32Array
  readonly words: Words
}

/** Made of the twins of the kernels that programs call. */
export function referenceTowerKernels(
  memory: WebAssembly.Memory,
  thread: number,
  dense: DenseKernels,
): TowerKernels {
  const floats = new Float32Array(memory.buffer)
  const words = new Uint32Array(memory.buffer)
  const transposeRows: TowerKernels['transposeRows'] = (...operands) => {
    const [out, stride, x, columns, from, to] = operands
    for (let i = from; i < to; i += 1) {
      for (let j = 0; j < columns; j += 1) {
        floats[(out >>> 2) + j * stride + i] = floats[(x >>> 2) + i * columns + j]
      }
    }
  }
  const packRows: TowerKernels['packRows'] = (...[out, depth, x, columns, from, to]) => {
    for (let i = from; i < to; i += 1) {
      const first = (out >>> 2) + (i >> 3) * depth * 8 + (i & 7)
      for (let j = 0; j < columns; j += 1) {
        floats[first + j * 8] = floats[(x >>> 2) + i * columns + j]
      }
    }
  }
  const sumParts: TowerKernels['sumParts'] = (...operands) => {
    const [out, parts, length, count, from, to] = operands
    for (let i = from; i < to; i += 1) {
      let sum = floats[(parts >>> 2) + i]
      for (let k = 1; k < count; k += 1) sum = fround(sum + floats[(parts >>> 2) + k * length + i])
      floats[(out >>> 2) + i] = sum
    }
  }
  const twins = twinsOf({ ...dense, transposeRows, packRows, sumParts })
  return {
    transposeRows,
    packRows,
    sumParts,
    clear: (out, from, to) => {
      floats.fill(0, (out >>> 2) + from, (out >>> 2) + to)
    },
    runPrograms: (programs, count, from, to) => {
      let start = 0
      for (let i = 0; i < count; i += 1) {
        const at = (programs >>> 2) + i * programWords
        const rows = words[at]
        const first = Math.max(from, start) - start
        const end = Math.min(to, start + rows) - start
        if (first < end) runProgram({ floats, words }, twins, { at, from: first, to: end })
        start += rows
      }
    },
    softmaxGroups: (job, from, to) => {
      const groupRows = words[(job >>> 2) + softmaxWord.groupRows]
      for (let group = Math.ceil(from / groupRows); group * groupRows < to; group += 1) {
        softmaxGroup({ floats, words }, dense, { job: job >>> 2, group, thread })
      }
    },
  }
}

function twinsOf(kernels: ProgramKernels): Record<Operation, Twin> {
  const product =
    (name: 'matmul' | 'matmulTransposedA'): Twin =>
    (i, _, from, to) =>
      kernels[name](i(0), i(1), i(2), i(3), i(4), i(5), flag(i(6)), from, to)
  return {
    matmul: product('matmul'),
    matmulTransposedA: product('matmulTransposedA'),
    biasActivation: (i, _, from, to) =>
      kernels.biasActivation(i(0), i(1), i(2), i(3), activation(i(4)), from, to),
    activationBackward: (i, _, from, to) =>
      kernels.activationBackward(i(0), i(1), activation(i(2)), from, to),
    sumColumns: (i, _, from, to) =>
      kernels.sumColumns(i(0), i(1), i(2), i(3), flag(i(4)), from, to),
    normalizeRows: (i, f, from, to) =>
      kernels.normalizeRows(i(0), i(1), i(2), i(3), f(4), from, to),
    normalizeRowsBackward: (i, _, from, to) =>
      kernels.normalizeRowsBackward(i(0), i(1), i(2), i(3), from, to),
    dropout: (i, f, from, to) => kernels.dropout(i(0), i(1), i(2), i(3), f(4), from, to),
    addScaled: (i, f, from, to) => kernels.addScaled(i(0), i(1), f(2), from, to),
    scale: (i, f, from, to) => kernels.scale(i(0), i(1), f(2), from, to),
    transposeRows: (i, _, from, to) => kernels.transposeRows(i(0), i(1), i(2), i(3), from, to),
    sumParts: (i, _, from, to) => kernels.sumParts(i(0), i(1), i(2), i(3), from, to),
    packRows: (i, _, from, to) => kernels.packRows(i(0), i(1), i(2), i(3), from, to),
    crossRows: (i, f, from, to) =>
      kernels.crossRows(i(0), i(1), i(2), i(3), i(4), i(5), f(6), from, to),
    crossBackward: (i, _, from, to) =>
      kernels.crossBackward(i(0), i(1), i(2), i(3), i(4), flag(i(5)), from, to),
    layerNorm: (i, f, from, to) =>
      kernels.layerNorm(i(0), i(1), i(2), i(3), i(4), i(5), i(6), f(7), from, to),
    layerNormBackward: (i, _, from, to) =>
      kernels.layerNormBackward(i(0), i(1), i(2), i(3), i(4), i(5), from, to),
    sumProducts: (i, _, from, to) =>
      kernels.sumProducts(i(0), i(1), i(2), i(3), i(4), flag(i(5)), from, to),
  }
}

const flag = (word: number): Flag => (word === 0 ? 0 : 1)
const activation = (word: number): ActivationCode =>
  Object.values(activationCode).find((code) => code === word) ?? activationCode.linear

function runProgram(
  { floats, words }: Memory,
  twins: Record<Operation, Twin>,
  { at, from, to }: { readonly at: number; readonly from: number; readonly to: number },
): void {
  const instructions = words[at + 2]
  for (let k = 0; k < instructions; k += 1) {
    const start = (words[at + 3] >>> 2) + k * instructionWords
    const unit = words[start + 1]
    const twin = twins[present(operationNames[words[start]], 'the operation')]
    const integer: Operand = (i) => words[start + 2 + i]
    twin(integer, (i) => floats[start + 2 + i], from * unit, to * unit)
  }
}

/** One group whole: tiles leave no trace in the bits. */
function softmaxGroup(
  memory: Memory,
  dense: DenseKernels,
  { job, group, thread }: { readonly job: number; readonly group: number; readonly thread: number },
): void {
  const { floats, words } = memory
  const word = (name: keyof typeof softmaxWord): number => words[job + softmaxWord[name]]
  const [columns, dim, heads] = [word('columns'), word('dim'), word('heads')]
  const depth = word('popularity') > 0 ? dim + 1 : dim
  const first = group * word('groupRows')
  const rows = Math.min(word('batch') - first, word('groupRows'))
  const perTemperature = floats[job + softmaxWord.perTemperature]
  // Row by row, a line for each head, in the first rows of the thread's tile.
  const lines = word('tiles') + thread * word('tileBytes')
  const scaled = lines + heads * columns * 4
  const part = word('parts') + group * columns * dim * 4
  const scale = (head: number, factor: number): void => {
    const query = (word('queries') >>> 2) + head * dim
    for (let j = 0; j < dim; j += 1) {
      floats[(scaled >>> 2) + j] = fround(floats[query + j] * factor)
    }
  }
  for (let i = first; i < first + rows; i += 1) {
    for (let h = 0; h < heads; h += 1) {
      scale(i * heads + h, perTemperature)
      if (depth > dim) {
        floats[(scaled >>> 2) + dim] = floats[(word('popularityWeights') >>> 2) + i]
      }
      for (let panel = 0; panel < columns / 8; panel += 1) {
        const right = word('panels') + panel * depth * 32
        const out = lines + h * columns * 4 + panel * 32
        dense.matmul(out, scaled, right, 1, 8, depth, 0, 0, 1)
      }
    }
    const best = bestHeads(floats, { line: lines >>> 2, columns, heads })
    softmaxRow(memory, { job, row: i, line: lines >>> 2 })
    shareAmongHeads(floats, { line: lines >>> 2, columns, heads }, best)
    const share = floats[(word('shares') >>> 2) + i]
    for (let h = 0; h < heads; h += 1) {
      const [line, row] = [lines + h * columns * 4, i * heads + h]
      const gradient = word('queryGradients') + row * dim * 4
      dense.matmul(gradient, line, word('candidates'), 1, dim, columns, 0, 0, 1)
      dense.scale(gradient, gradient, share, 0, dim)
      scale(row, share)
      const accumulate = row === first * heads ? 0 : 1
      dense.matmulTransposedA(part, line, scaled, columns, dim, 1, accumulate, 0, columns)
    }
  }
}

/** A query's scores: a line of columns for each head, one behind the other. */
interface HeadLines {
  readonly line: number
  readonly columns: number
  readonly heads: number
}

/** The first line becomes the largest of all; which that was in each column. */
function bestHeads(floats: Float32Array, { line, columns, heads }: HeadLines): Uint8Array {
  const best = new Uint8Array(columns)
  for (let h = 1; h < heads; h += 1) {
    for (let j = 0; j < columns; j += 1) {
      const score = floats[line + h * columns + j]
      if (!(score > floats[line + j])) continue
      floats[line + j] = score
      best[j] = h
    }
  }
  return best
}

/** The first line's gradients go to the lines of the heads that they are of. */
function shareAmongHeads(
  floats: Float32Array,
  { line, columns, heads }: HeadLines,
  best: Uint8Array,
): void {
  for (let h = heads - 1; h >= 0; h -= 1) {
    for (let j = 0; j < columns; j += 1) {
      floats[line + h * columns + j] = best[j] === h ? floats[line + j] : 0
    }
  }
}

function softmaxRow(
  { floats, words }: Memory,
  { job, row, line }: { readonly job: number; readonly row: number; readonly line: number },
): void {
  const index = (name: keyof typeof softmaxWord): number => words[job + softmaxWord[name]] >>> 2
  const columns = words[job + softmaxWord.columns]
  const target = words[index('targets') + row] | 0
  const weight = floats[index('weights') + row]
  const popularity = index('popularity')
  if (target < 0 || weight === 0) {
    floats.fill(0, line, line + columns)
    floats[index('losses') + row] = 0
    floats[index('shares') + row] = 0
    if (popularity > 0) floats[index('popularityWeightGradients') + row] = 0
    return
  }
  const own = fround(floats[line + target] + floats[index('targetCorrections') + row])
  const masks = index('masks') + row * words[job + softmaxWord.maskWords]
  for (let j = 0; index('masks') > 0 && j < columns; j += 1) {
    if (((words[masks + (j >>> 5)] >>> (j & 31)) & 1) === 1) floats[line + j] = -Infinity
  }
  floats[line + target] = -Infinity
  const hardest = words[job + softmaxWord.hardNegatives]
  const corrections = index('corrections')
  if (hardest > 0) keepHardest(floats, { line, corrections, columns }, hardest)
  const loss = words[job + softmaxWord.loss]
  if (loss !== lossCode.softmax) {
    const kind = loss === lossCode.sigmoid ? 'sigmoid' : 'bpr'
    const given = { line, corrections, columns }
    const found = pairwiseRow(floats, given, { kind, own, target })
    floats[index('losses') + row] = fround(weight * found)
    floats[index('shares') + row] = fround(weight * floats[job + softmaxWord.perTemperature])
    if (popularity > 0) {
      const expected = dot32(floats, line, popularity, columns)
      floats[index('popularityWeightGradients') + row] = fround(weight * expected)
    }
    return
  }
  let most = own
  for (let j = 0; j < columns; j += 1) {
    floats[line + j] = fround(floats[line + j] + floats[corrections + j])
    if (most < floats[line + j]) most = floats[line + j]
  }
  for (let j = 0; j < columns; j += 1) {
    floats[line + j] = exponential(fround(floats[line + j] - most))
  }
  const ownExponential = exp32(fround(own - most))
  const total = fround(sumInBlocks(floats.subarray(line, line + columns)) + ownExponential)
  const crossEntropy = fround(log32(total) + fround(most - own))
  floats[index('losses') + row] = fround(weight * crossEntropy)
  floats[line + target] = fround(ownExponential - total)
  const share = fround(weight / total)
  floats[index('shares') + row] = fround(share * floats[job + softmaxWord.perTemperature])
  if (popularity > 0) {
    const expected = dot32(floats, line, popularity, columns)
    floats[index('popularityWeightGradients') + row] = fround(share * expected)
  }
}

const log2e = fround(Math.LOG2E)
/** Adding 1.5 x 2^23 rounds to an integer. */
const rounder = 12_582_912
const powerCoefficients = Float32Array.of(
  0.00133908633648,
  0.00967603191833,
  0.0555035711422,
  0.240221074853,
  0.693147188026,
  1,
)

/** e^x by way of 2^x for x <= 0; 2^-92 and below is 0. */
function exponential(x: number): number {
  const t = fround(x * log2e)
  const shifted = fround(t + rounder)
  if (shifted <= rounder - 92) return 0
  const n = shifted - rounder
  return fround(polynomial(powerCoefficients, fround(t - n)) * 2 ** n)
}

/** In blocks of 16, of each first the columns that are 4 apart. */
function sumInBlocks(line: Float32Array): number {
  const lanes = new Float32Array(4)
  for (let j = 0; j < line.length; j += 16) {
    for (let k = j; k < j + 4; k += 1) {
      lanes[k & 3] += fround(fround(line[k] + line[k + 4]) + fround(line[k + 8] + line[k + 12]))
    }
  }
  return sumLanes(lanes)
}
