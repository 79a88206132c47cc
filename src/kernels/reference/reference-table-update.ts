/** Twin of `assembly/table-update.ts`: one step of a table's optimizer, row by row. */
import type { OptimizerKernels } from '../dense-kernels.ts'
import type { Address } from '../operands.ts'
import type { TableUpdateKernels } from '../table-kernels.ts'
import { absentPayload, optimizerCode, optimizerVariant, tableField } from '../table-kernels.ts'
import { addCount } from './reference-count-decay.ts'
import { sumOfSquares64 } from './reference-elements.ts'
import { bringWithinNorm, scale } from './reference-max-norm.ts'
import { referenceOptimizerKernels } from './reference-optimizers.ts'
import { TableMemory } from './reference-table-memory.ts'
import { catchUp } from './reference-table-state.ts'

const { fround, max, min, sqrt } = Math

export function referenceTableUpdateKernels(memory: WebAssembly.Memory): TableUpdateKernels {
  const rules = referenceOptimizerKernels(memory)
  return {
    tableUpdate: (...[address, rows, n, gradients, occurrences, ...stamp]) => {
      const table = new TableMemory(memory, address)
      const step = stepOf(table, rules)
      for (let i = 0; i < n; i += 1) {
        const row = table.words[(rows >>> 2) + i]
        if (row === absentPayload) continue
        const gradient = gradients + 4 * i * table.dim
        const vector = table.vector(row)
        prepare(table, vector, gradient >>> 2)
        catchUp(table, row, stamp[1])
        step(4 * vector, 4 * table.state(row), gradient)
        bringWithinNorm(table, vector)
        const more = occurrences === 0 ? 1 : table.words[(occurrences >>> 2) + i]
        addCount(table, row, more, stamp[0])
        table.markChanged(row, stamp)
      }
    },
  }
}

/** Clips the gradient, adds what L2 asks. */
function prepare(table: TableMemory, vector: number, at: number): void {
  const { floats, dim } = table
  const gradient = floats.subarray(at, at + dim)
  const [value, norm] = [table.float(tableField.clipValue), table.float(tableField.clipNorm)]
  if (value > 0) {
    for (let j = 0; j < dim; j += 1) gradient[j] = max(-value, min(value, gradient[j]))
  }
  const squares = norm > 0 ? sumOfSquares64(gradient) : 0
  if (squares > norm * norm) scale(gradient, fround(norm / sqrt(squares)))
  const l2 = table.float(tableField.l2)
  if (l2 === 0) return
  for (let j = 0; j < dim; j += 1) gradient[j] += fround(l2 * floats[vector + j])
}

/** A row's vector, state and gradient. */
type Step = (w: Address, s: Address, g: Address) => void

function stepOf(table: TableMemory, rules: OptimizerKernels): Step {
  const { dim } = table
  const slot = 4 * dim
  const [rate, epsilon] = [table.float(tableField.rate), table.float(tableField.epsilon)]
  const a = table.float(tableField.settingA)
  const b = table.float(tableField.settingB)
  const c = table.float(tableField.settingC)
  const has = (bit: number): boolean => (table.word(tableField.variant) & bit) !== 0
  switch (table.word(tableField.optimizer)) {
    case optimizerCode.sgd:
      return (w, _, g) => {
        for (let j = 0; j < dim; j += 1) {
          table.floats[w / 4 + j] -= fround(rate * table.floats[g / 4 + j])
        }
      }
    case optimizerCode.momentum: {
      const nesterov = has(optimizerVariant.nesterov) ? 1 : 0
      return (w, s, g) => rules.momentum(w, s, g, rate, a, nesterov, 0, dim)
    }
    case optimizerCode.adagrad:
      return (w, s, g) => rules.adagrad(w, s, g, rate, epsilon, 0, dim)
    case optimizerCode.adam:
      return (w, s, g) => {
        const corrected = correctedRate(table, s / 4 + 2 * dim)
        rules.adam(w, s, s + slot, g, corrected, a, b, epsilon, 0, dim)
      }
    case optimizerCode.rmsprop: {
      const centered = has(optimizerVariant.centered) ? slot : 0
      const moves = has(optimizerVariant.withMomentum)
      return (w, s, g) => {
        const mean = centered === 0 ? 0 : s + slot
        const moved = moves ? s + slot + centered : 0
        rules.rmsprop(w, s, mean, moved, g, rate, a, b, epsilon, 0, dim)
      }
    }
    case optimizerCode.ftrl:
      return (w, s, g) => rules.ftrl(w, s, s + slot, g, rate, a, b, 0, dim)
    case optimizerCode.clippyAdagrad:
      return (w, s, g) => rules.clippyAdagrad(w, s, g, rate, epsilon, a, b, c, dim)
    default:
      return () => {}
  }
}

/** Adam's rate with the row's own bias correction, whose two averages of ones stand at `ones`. */
function correctedRate(table: TableMemory, ones: number): number {
  const { floats } = table
  const beta1 = table.float(tableField.settingA)
  const beta2 = table.float(tableField.settingB)
  floats[ones] = fround(beta1 * floats[ones]) + fround(1 - beta1)
  floats[ones + 1] = fround(beta2 * floats[ones + 1]) + fround(1 - beta2)
  const rate = fround(table.float(tableField.rate) * fround(sqrt(floats[ones + 1])))
  return fround(rate / floats[ones])
}
