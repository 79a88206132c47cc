/**
 * A specified tower on tensors, with its gradients written out: layer by layer the formulas of the
 * built-in engine's kernels (assembly/layers.ts, cross.ts, layer-norm.ts). Twice as fast as
 * recording the operations and deriving them.
 */
import { assert, unreachable } from '../../base/assert.ts'
import type { Random } from '../../base/random.ts'
import { isKept } from '../../kernels/reference/reference-dropout.ts'
import { dropoutSalt, dropoutSeed } from '../program.ts'
import type { LayerSpec } from '../spec.ts'
import { exportTower, type ModelArtifacts } from '../tower-export.ts'
import {
  initialWeights,
  layerWeights,
  type TowerShape,
  weightCount,
  weightShapes,
} from '../tower-weights.ts'
import { normEpsilon, varianceEpsilon } from '../tower.ts'
import type { Products } from './products.ts'
import type { TensorTower } from './tensor-tower.ts'
import type { Tensor, Tensorflow } from './tensorflow.ts'

const perRootTau = 1 / Math.sqrt(2 * Math.PI)

export interface Backwards {
  /** By the input, and by each matrix of weights in their order. */
  readonly inputs: Tensor
  readonly weights: readonly Tensor[]
}

/** An output, and the way back from the gradients by it. */
export interface Passed {
  readonly output: Tensor
  readonly backward: (gradients: Tensor) => Backwards
}

type Activated = Extract<LayerSpec, { kind: 'dense' | 'residual' }>
type Cross = Extract<LayerSpec, { kind: 'cross' }>
type Dropout = Extract<LayerSpec, { kind: 'dropout' }>

interface Given {
  readonly x: Tensor
  /** What entered the first of the cross layers that follow each other. */
  readonly x0: Tensor
  readonly weights: readonly Tensor[]
  /** Its number, and in training the seed of what is drawn. */
  readonly layer: number
  readonly seed: number | undefined
}

/** What one layer does; a cross layer's input before its run takes part as well. */
interface Step {
  readonly output: Tensor
  /** `x0`: by the input of the run of cross layers, beside what goes through x. */
  readonly backward: (gradients: Tensor) => Backwards & { readonly x0?: Tensor }
}

export interface ClosedTowerOptions {
  readonly shape: TowerShape
  /** Of the weights at the start. */
  readonly random: Random
  /** Whether its weights are the first of the model's. */
  readonly isFirst: boolean
}

export class ClosedTower implements TensorTower {
  readonly weightCount: number
  readonly #tf: Tensorflow
  readonly #products: Products
  readonly #shape: TowerShape
  readonly #random: Random
  readonly #isFirst: boolean
  #weights: readonly Tensor[] = []

  constructor(tf: Tensorflow, products: Products, { shape, random, isFirst }: ClosedTowerOptions) {
    this.#tf = tf
    this.#products = products
    this.#shape = shape
    this.#random = random
    this.#isFirst = isFirst
    this.weightCount = weightCount(shape)
  }

  get weights(): readonly Tensor[] {
    return this.#weights
  }

  initialize(into: Float32Array): void {
    initialWeights(this.#shape, this.#random, into)
  }

  load(values: Float32Array): void {
    this.close()
    let at = 0
    this.#weights = weightShapes(this.#shape).map(({ rows, columns, isVector }) => {
      const own = values.slice(at, at + rows * columns)
      at += own.length
      return this.#tf.tensor(own, isVector ? [columns] : [rows, columns])
    })
  }

  embed(x: Tensor): Tensor {
    return this.forward(x).output
  }

  /** The way back passes once more: what a way keeps does not outlive the recording. */
  derivable(x: Tensor, seed: number): Tensor {
    // Without layers there is nothing to pass.
    const { layers, normalize } = this.#shape
    if (layers.length === 0 && !normalize) return x
    const gradFunc = (dy: Tensor): readonly Tensor[] => {
      const { inputs, weights } = this.forward(x, seed).backward(dy)
      return [inputs, ...weights]
    }
    const pass = this.#tf.customGrad<readonly Tensor[]>(() => ({
      value: this.forward(x, seed).output,
      gradFunc,
    }))
    return pass(x, ...this.#weights)
  }

  export(name: string, values: Float32Array): Promise<ModelArtifacts> {
    return Promise.resolve(exportTower(name, this.#shape, values))
  }

  close(): void {
    for (const weight of this.#weights) weight.dispose()
    this.#weights = []
  }

  /** `seed`: of what is dropped; absent: nothing is. */
  forward(x: Tensor, seed?: number): Passed {
    const { layers, normalize } = this.#shape
    const steps: Step[] = []
    let rest = this.#weights
    let output = x
    let x0 = x
    for (const [i, layer] of layers.entries()) {
      if (layer.kind === 'cross' && layers[i - 1]?.kind !== 'cross') x0 = output
      const own = layerWeights(layer, output.shape[1] ?? 0).length
      const given = { x: output, x0, weights: rest.slice(0, own), layer: i, seed }
      const step = this.#layer(layer, given)
      rest = rest.slice(own)
      steps.push(step)
      output = step.output
    }
    if (normalize) {
      const step = this.#normalize(output)
      steps.push(step)
      output = step.output
    }
    return { output, backward: (gradients) => this.#backward(steps, gradients) }
  }

  #backward(steps: readonly Step[], gradients: Tensor): Backwards {
    const { layers } = this.#shape
    const found: (readonly Tensor[])[] = []
    let inputs = gradients
    let x0: Tensor | undefined
    for (let i = steps.length - 1; i >= 0; i -= 1) {
      const back = steps[i].backward(inputs)
      found.unshift(back.weights)
      inputs = back.inputs
      if (back.x0 === undefined) continue
      x0 = x0 === undefined ? back.x0 : this.#tf.add(x0, back.x0)
      if (layers[i - 1]?.kind === 'cross') continue
      inputs = this.#tf.add(inputs, x0)
      x0 = undefined
    }
    return { inputs, weights: found.flat() }
  }

  #layer(layer: LayerSpec, given: Given): Step {
    switch (layer.kind) {
      case 'dense':
        return this.#dense(layer, given)
      case 'residual':
        return this.#residual(layer, given)
      case 'cross':
        return this.#cross(layer, given)
      case 'layerNorm':
        return this.#layerNorm(given)
      case 'dropout':
        return this.#dropout(layer, given)
      default:
        return unreachable(layer)
    }
  }

  /** y = activation(x W + b). */
  #dense({ activation }: Activated, { x, weights: [w, b] }: Given): Step {
    const { abT, aTb } = this.#products
    const { output, slope } = this.#activated(activation, { x, w, b })
    const backward = (gradients: Tensor): Backwards => {
      const d = slope(gradients)
      return { inputs: abT(d, w), weights: [aTb(x, d), this.#tf.sum(d, 0)] }
    }
    return { output, backward }
  }

  /** y = x + activation(x W1 + b) W2. */
  #residual({ activation }: Activated, { x, weights: [inner, b, outer] }: Given): Step {
    const { ab, abT, aTb } = this.#products
    const tf = this.#tf
    const { output: h, slope } = this.#activated(activation, { x, w: inner, b })
    const backward = (gradients: Tensor): Backwards => {
      const d = slope(abT(gradients, outer))
      const weights = [aTb(x, d), tf.sum(d, 0), aTb(h, gradients)]
      return { inputs: tf.add(gradients, abT(d, inner)), weights }
    }
    return { output: tf.add(x, ab(h, outer)), backward }
  }

  /** y = x0 (x W + b + diagScale x) + x, with W perhaps of two factors. */
  #cross({ diagScale }: Cross, { x, x0, weights }: Given): Step {
    const { ab, abT, aTb } = this.#products
    const tf = this.#tf
    const [first, second] = weights
    const bias = weights.at(-1)
    assert(bias !== undefined, 'a cross layer has a bias')
    const isFactored = weights.length === 3
    const projected = isFactored ? ab(x, first) : x
    const product = tf.add(ab(projected, isFactored ? second : first), bias)
    const u = diagScale === 0 ? product : tf.add(product, tf.mul(x, diagScale))
    const backward = (gradients: Tensor): Backwards & { x0: Tensor } => {
      const du = tf.mul(gradients, x0)
      const dProjected = isFactored ? abT(du, second) : du
      const through = tf.add(gradients, abT(dProjected, first))
      const inputs = diagScale === 0 ? through : tf.add(through, tf.mul(du, diagScale))
      const ofSecond = isFactored ? [aTb(projected, du)] : []
      const found = [aTb(x, dProjected), ...ofSecond, tf.sum(du, 0)]
      return { inputs, weights: found, x0: tf.mul(gradients, u) }
    }
    return { output: tf.add(tf.mul(x0, u), x), backward }
  }

  #layerNorm({ x, weights: [gain, bias] }: Given): Step {
    const tf = this.#tf
    const centred = tf.sub(x, tf.mean(x, 1, true))
    const variance = tf.mean(tf.square(centred), 1, true)
    const inverse = tf.rsqrt(tf.add(variance, varianceEpsilon))
    const unit = tf.mul(centred, inverse)
    const backward = (gradients: Tensor): Backwards => {
      const d = tf.mul(gradients, gain)
      const along = tf.mul(unit, tf.mean(tf.mul(d, unit), 1, true))
      const across = tf.sub(tf.sub(d, tf.mean(d, 1, true)), along)
      const weights = [tf.sum(tf.mul(gradients, unit), 0), tf.sum(gradients, 0)]
      return { inputs: tf.mul(across, inverse), weights }
    }
    return { output: tf.add(tf.mul(unit, gain), bias), backward }
  }

  /** The same elements as the built-in engine drops. */
  #dropout({ rate }: Dropout, { x, layer, seed }: Given): Step {
    if (seed === undefined) return { output: x, backward: (inputs) => ({ inputs, weights: [] }) }
    const own = dropoutSeed(seed, dropoutSalt(layer, this.#isFirst))
    const factor = 1 / (1 - rate)
    const kept = new Float32Array(x.shape[0] * x.shape[1])
    for (let i = 0; i < kept.length; i += 1) kept[i] = isKept(i, own, rate * 2 ** 32) ? factor : 0
    const mask = this.#tf.tensor(kept, x.shape)
    const backward = (gradients: Tensor): Backwards => {
      return { inputs: this.#tf.mul(gradients, mask), weights: [] }
    }
    return { output: this.#tf.mul(x, mask), backward }
  }

  /** Every row divided by its length, and where it is several heads each of them. */
  #normalize(rows: Tensor): Step {
    const tf = this.#tf
    const { heads } = this.#shape
    const [n, width] = rows.shape
    const apart = (all: Tensor): Tensor =>
      heads === 1 ? all : tf.reshape(all, [n * heads, width / heads])
    const joined = (all: Tensor): Tensor => (heads === 1 ? all : tf.reshape(all, [n, width]))
    const { output, backward } = this.#unitRows(apart(rows))
    return {
      output: joined(output),
      backward: (all) => ({ inputs: joined(backward(apart(all)).inputs), weights: [] }),
    }
  }

  #unitRows(x: Tensor): Step {
    const tf = this.#tf
    const inverse = tf.rsqrt(tf.add(tf.sum(tf.square(x), 1, true), normEpsilon))
    const output = tf.mul(x, inverse)
    const backward = (gradients: Tensor): Backwards => {
      const along = tf.mul(output, tf.sum(tf.mul(gradients, output), 1, true))
      return { inputs: tf.mul(tf.sub(gradients, along), inverse), weights: [] }
    }
    return { output, backward }
  }

  /** activation(x W + b), and from gradients by it those by the sum. */
  #activated(
    activation: Activated['activation'],
    { x, w, b }: Readonly<Record<'x' | 'w' | 'b', Tensor>>,
  ): { output: Tensor; slope: (gradients: Tensor) => Tensor } {
    const tf = this.#tf
    // The fused operation is slower than its parts on the native library.
    const sum = tf.add(this.#products.ab(x, w), b)
    switch (activation) {
      case 'linear':
        return { output: sum, slope: (gradients) => gradients }
      case 'relu': {
        const output = tf.relu(sum)
        // What is not negative is 0 or above it; `step` would take ten times as long.
        return { output, slope: (gradients) => tf.mul(gradients, tf.sign(output)) }
      }
      case 'tanh': {
        const output = tf.tanh(sum)
        const slope = (gradients: Tensor): Tensor =>
          tf.sub(gradients, tf.mul(gradients, tf.square(output)))
        return { output, slope }
      }
      case 'gelu':
        return this.#gelu(sum)
      default:
        return unreachable(activation)
    }
  }

  /** z (1 + erf(z / sqrt 2)) / 2; its slope that probability, and z times the normal density. */
  #gelu(z: Tensor): { output: Tensor; slope: (gradients: Tensor) => Tensor } {
    const tf = this.#tf
    const probability = tf.mul(tf.add(tf.erf(tf.mul(z, Math.SQRT1_2)), 1), 0.5)
    const slope = (gradients: Tensor): Tensor => {
      const density = tf.mul(tf.exp(tf.mul(tf.square(z), -0.5)), perRootTau)
      return tf.mul(gradients, tf.add(probability, tf.mul(z, density)))
    }
    return { output: tf.mul(z, probability), slope }
  }
}
