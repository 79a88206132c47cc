/** The twins of assembly/programs.ts and assembly/softmax-groups.ts. */
import { present } from '../base/assert.ts'
import { activationCode, type ActivationCode, type DenseKernels } from './dense-kernels.ts'
import type { Flag } from './operands.ts'
import { dot32, exp32, log32, sumLanes } from './reference-exp-log.ts'
import {
  instructionWords,
  operationNames,
  programWords,
  softmaxWord,
  type Operation,
  type TowerKernels,
} from './tower-kernels.ts'

const { fround } = Math

type Words = Uint32Array
type Operand = (index: number) => number
/** A kernel that reads its operands from an instruction, as integers or as floats. */
type Twin = (integer: Operand, float: Operand, from: number, to: number) => void
type ProgramKernels = DenseKernels & Pick<TowerKernels, 'transposeRows' | 'sumParts'>

interface Memory {
  readonly floats: Float32Array
  readonly words: Words
}

/** Made of the twins of the kernels that programs call. */
export function referenceTowerKernels(
  memory: WebAssembly.Memory,
  dense: DenseKernels,
): TowerKernels {
  const floats = new Float32Array(memory.buffer)
  const words = new Uint32Array(memory.buffer)
  const transposeRows: TowerKernels['transposeRows'] = (out, stride, x, columns, from, to) => {
    for (let i = from; i < to; i += 1) {
      for (let j = 0; j < columns; j += 1) {
        floats[(out >>> 2) + j * stride + i] = floats[(x >>> 2) + i * columns + j]
      }
    }
  }
  const sumParts: TowerKernels['sumParts'] = (out, parts, length, count, from, to) => {
    for (let i = from; i < to; i += 1) {
      let sum = floats[(parts >>> 2) + i]
      for (let k = 1; k < count; k += 1) sum = fround(sum + floats[(parts >>> 2) + k * length + i])
      floats[(out >>> 2) + i] = sum
    }
  }
  const twins = twinsOf({ ...dense, transposeRows, sumParts })
  return {
    transposeRows,
    sumParts,
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
        softmaxGroup({ floats, words }, dense, { job: job >>> 2, group })
      }
    },
  }
}

function twinsOf(kernels: ProgramKernels): Record<Operation, Twin> {
  const product =
    (name: 'matmul' | 'matmulTransposedA' | 'matmulTransposedB'): Twin =>
    (i, _, from, to) =>
      kernels[name](i(0), i(1), i(2), i(3), i(4), i(5), flag(i(6)), from, to)
  return {
    matmul: product('matmul'),
    matmulTransposedA: product('matmulTransposedA'),
    matmulTransposedB: product('matmulTransposedB'),
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
    addScaled: (i, f, from, to) => kernels.addScaled(i(0), i(1), f(2), from, to),
    scale: (i, f, from, to) => kernels.scale(i(0), i(1), f(2), from, to),
    transposeRows: (i, _, from, to) => kernels.transposeRows(i(0), i(1), i(2), i(3), from, to),
    sumParts: (i, _, from, to) => kernels.sumParts(i(0), i(1), i(2), i(3), from, to),
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
  { job, group }: { readonly job: number; readonly group: number },
): void {
  const { floats, words } = memory
  const word = (name: keyof typeof softmaxWord): number => words[job + softmaxWord[name]]
  const [columns, dim] = [word('columns'), word('dim')]
  const first = group * word('groupRows')
  const rows = Math.min(word('batch') - first, word('groupRows'))
  const scaled = new Float32Array(rows * dim)
  const perTemperature = floats[job + softmaxWord.perTemperature]
  const queries = (word('queries') >>> 2) + first * dim
  // The tile of the kernel holds fewer rows: what is left of it is worked on row by row.
  const line = word('tiles') + group * word('tileRows') * (columns + dim) * 4
  const query = line + columns * 4
  const part = word('parts') + group * columns * dim * 4
  floats.fill(0, part >>> 2, (part >>> 2) + columns * dim)
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < dim; j += 1) {
      floats[(query >>> 2) + j] = fround(floats[queries + i * dim + j] * perTemperature)
    }
    dense.matmul(line, query, word('transposed'), 1, columns, dim, 0, 0, 1)
    softmaxRow(memory, { job, row: first + i, line: line >>> 2 })
    const gradient = word('queryGradients') + (first + i) * dim * 4
    dense.matmul(gradient, line, word('candidates'), 1, dim, columns, 0, 0, 1)
    const share = floats[(word('shares') >>> 2) + first + i]
    for (let j = 0; j < dim; j += 1) {
      floats[(gradient >>> 2) + j] = fround(floats[(gradient >>> 2) + j] * share)
      scaled[j] = fround(floats[queries + i * dim + j] * share)
      floats[(query >>> 2) + j] = scaled[j]
    }
    dense.matmulTransposedA(part, line, query, columns, dim, 1, i === 0 ? 0 : 1, 0, columns)
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
  const pull = popularity > 0 ? floats[index('popularityWeights') + row] : 0
  const popular = (j: number): number => fround(pull * floats[popularity + j])
  let own = fround(floats[line + target] + floats[index('targetCorrections') + row])
  if (popularity > 0) own = fround(own + popular(target))
  const masks = index('masks') + row * words[job + softmaxWord.maskWords]
  for (let j = 0; index('masks') > 0 && j < columns; j += 1) {
    if (((words[masks + (j >>> 5)] >>> (j & 31)) & 1) === 1) floats[line + j] = -Infinity
  }
  floats[line + target] = -Infinity
  let most = own
  for (let j = 0; j < columns; j += 1) {
    const logit = fround(floats[line + j] + floats[index('corrections') + j])
    floats[line + j] = popularity > 0 ? fround(logit + popular(j)) : logit
    if (most < floats[line + j]) most = floats[line + j]
  }
  floats[line + target] = own
  const lanes = new Float32Array(4)
  for (let j = 0; j < columns; j += 1) {
    floats[line + j] = exp32(fround(floats[line + j] - most))
    lanes[j & 3] += floats[line + j]
  }
  const total = sumLanes(lanes)
  floats[index('losses') + row] = fround(weight * fround(log32(total) - fround(own - most)))
  floats[line + target] = fround(floats[line + target] - total)
  const share = fround(weight / total)
  floats[index('shares') + row] = fround(share * floats[job + softmaxWord.perTemperature])
  if (popularity > 0) {
    const expected = dot32(floats, line, popularity, columns)
    floats[index('popularityWeightGradients') + row] = fround(share * expected)
  }
}
