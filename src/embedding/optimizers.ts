/**
 * What an optimizer is to a table: so many floats of state behind each vector, the value they start
 * with, its settings in the table's record, and one kernel. A new optimizer is one more case here
 * and one more kernel of the same signature.
 */
import type { Kernels } from '../kernels/kernels.ts'
import type { OptimizerKernel } from '../kernels/table-kernels.ts'
import type { OptimizerSpec } from './table-spec.ts'

export interface Optimizer {
  readonly stateFloats: number
  /** What the kernel reads from the table's record. `decaySteps` 0: no decay. */
  readonly settings: {
    readonly initialState: number
    readonly rate: number
    readonly epsilon: number
    readonly decay: number
    readonly decaySteps: number
  }
  kernel(kernels: Kernels): OptimizerKernel
}

/** The optimizer of a table with vectors of `dim` floats. */
export function optimizerOf(spec: OptimizerSpec, dim: number): Optimizer {
  // Plain Adagrad is the one that never decays.
  const decays = spec.kind === 'adagradDecay'
  return {
    stateFloats: dim,
    settings: {
      initialState: spec.initialAccumulator,
      rate: spec.rate,
      epsilon: spec.epsilon,
      decay: decays ? spec.decay : 1,
      decaySteps: decays ? spec.decaySteps : 0,
    },
    kernel: (kernels) => kernels.tableAdagrad,
  }
}

/** For a table that only reads and assigns: a replica's. */
export const stateless: Optimizer = {
  stateFloats: 0,
  settings: { initialState: 0, rate: 0, epsilon: 0, decay: 1, decaySteps: 0 },
  kernel: () => () => {
    throw new Error('a table without optimizer state cannot learn')
  },
}
