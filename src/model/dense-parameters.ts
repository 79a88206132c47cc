/**
 * A block of dense weights with its gradients and its optimizer's state, updated as one, by the
 * kernels that rows learn by too; Adam (Kingma, Ba 2015) with the bias correction folded into the
 * rate.
 */
import { unreachable } from '../base/assert.ts'
import type { Arena, Block } from '../kernels/arena.ts'
import type { Kernels } from '../kernels/kernels.ts'
import { absent } from '../kernels/operands.ts'
import type { DenseOptimizerSpec } from './spec.ts'

/** What blocks are cut from: an arena, or the counter that measures how large it must be. */
export type Allocator = Pick<Arena, 'floats' | 'ints' | 'words'>

type Kind<Name extends DenseOptimizerSpec['kind']> = Extract<DenseOptimizerSpec, { kind: Name }>

const { fround, sqrt } = Math
/** Of an optimizer without that state: no kernel reads it. */
const noBlock = { address: absent }

/** Blocks as large as the weights, and their start. */
function stateOf(optimizer: DenseOptimizerSpec): {
  readonly blocks: number
  readonly start: number
} {
  switch (optimizer.kind) {
    case 'sgd':
      return { blocks: 0, start: 0 }
    case 'momentum':
    case 'rmsprop':
      return { blocks: 1, start: 0 }
    case 'adam':
      return { blocks: 2, start: 0 }
    case 'adagrad':
    case 'adagradDecay':
    case 'clippyAdagrad':
      return { blocks: 1, start: optimizer.initialAccumulator }
    default:
      return unreachable(optimizer)
  }
}

/** Clippy's factor is of so many weights at a time. */
const clippyWeights = 16_384
const bytesPerFloat = 4

export class DenseParameters {
  readonly values: Block<Float32Array>
  /** Of the batch's summed loss, until `update` has scaled them. */
  readonly gradients: Block<Float32Array>
  readonly #state: readonly Block<Float32Array>[]
  readonly #optimizer: DenseOptimizerSpec
  /**
   * After t steps: Adam's beta1^t and beta2^t, in f32 so that they are saved without loss; of
   * `adagradDecay` t since the last decay.
   */
  readonly #powers = new Float32Array(2)

  constructor(allocator: Allocator, size: number, optimizer: DenseOptimizerSpec) {
    const { blocks } = stateOf(optimizer)
    this.values = allocator.floats(size)
    this.gradients = allocator.floats(size)
    this.#state = Array.from({ length: blocks }, () => allocator.floats(size))
    this.#optimizer = optimizer
  }

  get size(): number {
    return this.values.view.length
  }

  /** Floats that `saveState` writes. */
  get stateSize(): number {
    return this.#state.length * this.size + this.#powers.length
  }

  /** The optimizer as before its first step. */
  resetState(): void {
    const { start } = stateOf(this.#optimizer)
    for (const { view } of this.#state) view.fill(start)
    this.#powers.fill(this.#optimizer.kind === 'adagradDecay' ? 0 : 1)
  }

  /** One step with the gradients multiplied by `scale`, the learning rate by `rateScale`. */
  update(kernels: Kernels, scale: number, rateScale = 1): void {
    const { size, gradients } = this
    if (size === 0) return
    kernels.scale(gradients.address, gradients.address, fround(scale), 0, size)
    this.#step(kernels, this.#optimizer.rate * rateScale)
  }

  #step(kernels: Kernels, rate: number): void {
    const { size } = this
    const optimizer = this.#optimizer
    const [w, g] = [this.values.address, this.gradients.address]
    const [first = noBlock, second = noBlock] = this.#state
    const s = first.address
    switch (optimizer.kind) {
      case 'sgd':
        return kernels.addScaled(w, g, -rate, 0, size)
      case 'momentum': {
        const { momentum, nesterov } = optimizer
        return kernels.momentum(w, s, g, rate, momentum, nesterov ? 1 : 0, 0, size)
      }
      case 'adagrad':
        return kernels.adagrad(w, s, g, rate, optimizer.epsilon, 0, size)
      case 'adagradDecay': {
        const { epsilon, initialAccumulator: floor } = optimizer
        return kernels.adagradDecay(
          w,
          s,
          g,
          rate,
          epsilon,
          this.#dueDecay(optimizer),
          floor,
          0,
          size,
        )
      }
      case 'rmsprop': {
        const { rho, epsilon } = optimizer
        return kernels.rmsprop(w, s, absent, absent, g, rate, rho, 0, epsilon, 0, size)
      }
      case 'adam': {
        const { beta1, beta2, epsilon } = optimizer
        const corrected = this.#corrected(rate, optimizer)
        return kernels.adam(w, s, second.address, g, corrected, beta1, beta2, epsilon, 0, size)
      }
      case 'clippyAdagrad':
        return this.#clippy(kernels, optimizer, rate)
      default:
        return unreachable(optimizer)
    }
  }

  /** The rate of the next Adam step. */
  #corrected(rate: number, { beta1, beta2 }: Kind<'adam'>): number {
    this.#powers[0] = this.#powers[0] * beta1
    this.#powers[1] = this.#powers[1] * beta2
    return (rate * sqrt(1 - this.#powers[1])) / (1 - this.#powers[0])
  }

  /** What the accumulators are multiplied by in the next step. */
  #dueDecay({ decay, decaySteps }: Kind<'adagradDecay'>): number {
    this.#powers[0] += 1
    if (this.#powers[0] < decaySteps) return 1
    this.#powers[0] = 0
    return decay
  }

  #clippy(kernels: Kernels, optimizer: Kind<'clippyAdagrad'>, rate: number): void {
    const { epsilon, relativeThreshold, accumulatorThreshold, absoluteThreshold } = optimizer
    const limits = [relativeThreshold, accumulatorThreshold, absoluteThreshold] as const
    const [{ address: accumulators }] = this.#state
    for (let from = 0; from < this.size; from += clippyWeights) {
      const n = Math.min(clippyWeights, this.size - from)
      const at = from * bytesPerFloat
      const [w, g] = [this.values.address + at, this.gradients.address + at]
      kernels.clippyAdagrad(w, accumulators + at, g, rate, epsilon, ...limits, n)
    }
  }

  saveState(into: Float32Array): void {
    let at = 0
    for (const { view } of this.#state) {
      into.set(view, at)
      at += view.length
    }
    into.set(this.#powers, at)
  }

  loadState(from: Float32Array): void {
    let at = 0
    for (const { view } of this.#state) {
      view.set(from.subarray(at, at + view.length))
      at += view.length
    }
    this.#powers.set(from.subarray(at, at + this.#powers.length))
  }
}
