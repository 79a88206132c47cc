/**
 * What an optimizer is to a table: so many floats of state behind each vector, and what
 * `tableUpdate` reads of it in the table's record. A new optimizer is one more case here and one
 * more rule in `assembly/optimizers.ts`.
 */
import { unreachable } from '../../base/assert.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import type { OptimizerKernel } from '../../kernels/table-kernels.ts'
import { optimizerCode, optimizerVariant, tableField } from '../../kernels/table-kernels.ts'
import type { OptimizerSpec } from '../table-spec.ts'

type Settings = readonly (readonly [
  field: (typeof tableField)[keyof typeof tableField],
  value: number,
])[]

export interface Optimizer {
  /** What its state is made of: rows of one layout mean nothing in a table of another. */
  readonly layout: string
  /** The first dim of them start at the initial accumulator, the rest at 0. */
  readonly stateFloats: number
  readonly settings: { readonly words: Settings; readonly floats: Settings }
  kernel(kernels: Kernels): OptimizerKernel
}

/** A rule and its own numbers. */
interface Rule {
  readonly code: number
  /** Slots of dim floats, and single floats after them. */
  readonly slots: number
  readonly extra: number
  readonly variant: number
  readonly initialState: number
  readonly epsilon: number
  readonly decay: number
  readonly decaySteps: number
  readonly a: number
  readonly b: number
  readonly c: number
}

/** What a rule does not name. */
const plain = {
  slots: 0,
  extra: 0,
  variant: 0,
  initialState: 0,
  epsilon: 0,
  decay: 1,
  decaySteps: 0,
  a: 0,
  b: 0,
  c: 0,
}

/** The optimizer of a table with vectors of `dim` floats. */
export function optimizerOf(spec: OptimizerSpec, dim: number): Optimizer {
  const rule = ruleOf(spec)
  return {
    layout: spec.kind === 'rmsprop' ? `${spec.kind} ${rule.variant}` : spec.kind,
    stateFloats: rule.slots * dim + rule.extra,
    settings: {
      words: [
        [tableField.optimizer, rule.code],
        [tableField.variant, rule.variant],
        [tableField.decaySteps, rule.decaySteps],
      ],
      floats: [
        [tableField.initialState, rule.initialState],
        [tableField.rate, spec.rate],
        [tableField.epsilon, rule.epsilon],
        [tableField.decay, rule.decay],
        [tableField.settingA, rule.a],
        [tableField.settingB, rule.b],
        [tableField.settingC, rule.c],
        // FTRL has its own place for it.
        [tableField.l2, spec.kind === 'ftrl' ? 0 : (spec.l2 ?? 0)],
        [tableField.clipNorm, spec.clipNorm ?? 0],
        [tableField.clipValue, spec.clipValue ?? 0],
      ],
    },
    kernel: (kernels) => kernels.tableUpdate,
  }
}

function ruleOf(spec: OptimizerSpec): Rule {
  switch (spec.kind) {
    case 'sgd':
      return { ...plain, code: optimizerCode.sgd }
    case 'momentum': {
      const variant = spec.nesterov ? optimizerVariant.nesterov : 0
      return { ...plain, code: optimizerCode.momentum, slots: 1, variant, a: spec.momentum }
    }
    case 'adagrad':
    case 'adagradDecay': {
      const { initialAccumulator: initialState, epsilon } = spec
      const rule = { ...plain, code: optimizerCode.adagrad, slots: 1, initialState, epsilon }
      if (spec.kind === 'adagrad') return rule
      return { ...rule, decay: spec.decay, decaySteps: spec.decaySteps }
    }
    case 'adam':
    case 'lazyAdam': {
      const variant = spec.kind === 'lazyAdam' ? optimizerVariant.lazy : 0
      const { beta1: a, beta2: b, epsilon } = spec
      return { ...plain, code: optimizerCode.adam, slots: 2, extra: 2, variant, epsilon, a, b }
    }
    case 'rmsprop':
      return rmspropRule(spec)
    case 'ftrl':
    case 'clippyAdagrad':
      return boundedRule(spec)
    default:
      return unreachable(spec)
  }
}

function rmspropRule(spec: Extract<OptimizerSpec, { kind: 'rmsprop' }>): Rule {
  const { centered, momentum, rho: a, epsilon } = spec
  const moves = momentum > 0
  const variant =
    (centered ? optimizerVariant.centered : 0) | (moves ? optimizerVariant.withMomentum : 0)
  const slots = 1 + Number(centered) + Number(moves)
  return { ...plain, code: optimizerCode.rmsprop, slots, variant, epsilon, a, b: momentum }
}

function boundedRule(spec: Extract<OptimizerSpec, { kind: 'ftrl' | 'clippyAdagrad' }>): Rule {
  const { initialAccumulator: initialState } = spec
  if (spec.kind === 'ftrl') {
    const { l1: a, beta, rate, l2 = 0 } = spec
    return { ...plain, code: optimizerCode.ftrl, slots: 2, initialState, a, b: l2 + beta / rate }
  }
  const { epsilon, relativeThreshold: a } = spec
  const { accumulatorThreshold: b, absoluteThreshold: c } = spec
  const code = optimizerCode.clippyAdagrad
  return { ...plain, code, slots: 1, initialState, epsilon, a, b, c }
}

/** For a table that only reads and assigns: a replica's. */
export const stateless: Optimizer = {
  layout: 'none',
  stateFloats: 0,
  settings: { words: [], floats: [] },
  kernel: () => () => {
    throw new Error('a table without optimizer state cannot learn')
  },
}
