/**
 * A block of dense weights with its gradients and its optimizer's state, updated as one: Adagrad
 * (Duchi, Hazan, Singer 2011) or Adam (Kingma, Ba 2015, the bias correction folded into the rate).
 */
import { assert } from '../base/assert.ts'
import type { Arena, Block } from '../kernels/arena.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { DenseOptimizerSpec } from './spec.ts'

/** What blocks are cut from: an arena, or the counter that measures how large it must be. */
export type Allocator = Pick<Arena, 'floats' | 'ints' | 'words'>

const { fround, sqrt } = Math

export class DenseParameters {
  readonly values: Block<Float32Array>
  /** Of the batch's summed loss, until `update` has scaled them. */
  readonly gradients: Block<Float32Array>
  readonly #state: readonly Block<Float32Array>[]
  readonly #optimizer: DenseOptimizerSpec
  /** beta1^t and beta2^t after t Adam steps, in f32 so that they are saved without loss. */
  readonly #powers = new Float32Array(2)

  constructor(allocator: Allocator, size: number, optimizer: DenseOptimizerSpec) {
    const states = optimizer.kind === 'adam' ? 2 : 1
    this.values = allocator.floats(size)
    this.gradients = allocator.floats(size)
    this.#state = Array.from({ length: states }, () => allocator.floats(size))
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
    const optimizer = this.#optimizer
    const initial = optimizer.kind === 'adagrad' ? optimizer.initialAccumulator : 0
    for (const { view } of this.#state) view.fill(initial)
    this.#powers.fill(1)
  }

  /** One step with the gradients multiplied by `scale`, the learning rate by `rateScale`. */
  update(kernels: Kernels, scale: number, rateScale = 1): void {
    const { size, values, gradients } = this
    if (size === 0) return
    const [first, second] = this.#state
    assert(first !== undefined, 'an optimizer has state')
    kernels.scale(gradients.address, gradients.address, fround(scale), 0, size)
    const [w, g] = [values.address, gradients.address]
    const optimizer = this.#optimizer
    if (optimizer.kind === 'adagrad') {
      kernels.adagrad(w, first.address, g, optimizer.rate * rateScale, optimizer.epsilon, 0, size)
      return
    }
    assert(second !== undefined, 'Adam has two moments')
    const { beta1, beta2, epsilon } = optimizer
    this.#powers[0] = this.#powers[0] * beta1
    this.#powers[1] = this.#powers[1] * beta2
    const rate = (rateScale * optimizer.rate * sqrt(1 - this.#powers[1])) / (1 - this.#powers[0])
    kernels.adam(w, first.address, second.address, g, rate, beta1, beta2, epsilon, 0, size)
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
