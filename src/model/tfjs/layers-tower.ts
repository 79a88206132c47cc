/**
 * A tower that the user brings as a TensorFlow.js LayersModel: whatever its layers are, gradients
 * are derived from the operations it runs. While it learns, they run as in training (dropout).
 */
import { ServiceError } from '../../base/errors.ts'
import type { ModelArtifacts } from '../tower-export.ts'
import { normEpsilon } from '../tower.ts'
import type { TensorTower } from './tensor-tower.ts'
import type { LayersModel, LayerVariable, Tensor, Tensorflow } from './tensorflow.ts'

/** Their weights change with every pass, which no guard could take back. */
const changing = new Set(['BatchNormalization'])

export interface LayersTowerShape {
  /** Of the model.json, for what is said of it. */
  readonly path: string
  readonly width: number
  readonly dim: number
  /** Vectors in a row of output. */
  readonly heads: number
  readonly normalize: boolean
}

export class LayersTower implements TensorTower {
  readonly weightCount: number
  readonly #tf: Tensorflow
  readonly #model: LayersModel
  readonly #normalize: boolean
  readonly #heads: number
  readonly #variables: readonly LayerVariable[]

  /** Throws `LAYERS_MODEL_INVALID` where the model does not fit. */
  constructor(tf: Tensorflow, model: LayersModel, shape: LayersTowerShape) {
    check(model, shape)
    this.#tf = tf
    this.#model = model
    this.#normalize = shape.normalize
    this.#heads = shape.heads
    this.#variables = model.trainableWeights
    this.weightCount = this.#variables.reduce((sum, variable) => sum + sizeOf(variable), 0)
  }

  get weights(): readonly Tensor[] {
    return this.#variables.map((variable) => variable.read())
  }

  initialize(into: Float32Array): void {
    let at = 0
    for (const weight of this.weights) {
      const values = weight.dataSync()
      into.set(values, at)
      at += values.length
    }
  }

  load(values: Float32Array): void {
    let at = 0
    for (const variable of this.#variables) {
      const weight = variable.read()
      const own = values.slice(at, at + sizeOf(variable))
      at += own.length
      this.#tf.tidy(() => weight.assign(this.#tf.tensor(own, weight.shape)))
    }
  }

  embed(x: Tensor): Tensor {
    return this.#apply(x, false)
  }

  derivable(x: Tensor): Tensor {
    return this.#apply(x, true)
  }

  /** As the user brought it: without the engine's normalisation of its output. */
  async export(_: string, values: Float32Array): Promise<ModelArtifacts> {
    this.load(values)
    const found = Promise.withResolvers<ModelArtifacts>()
    const take = (artifacts: ModelArtifacts): Promise<object> => {
      found.resolve(artifacts)
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0) } })
    }
    await this.#model.save(this.#tf.io.withSaveHandler(take))
    return found.promise
  }

  close(): void {
    this.#model.dispose()
  }

  #apply(x: Tensor, training: boolean): Tensor {
    const tf = this.#tf
    const [y] = [this.#model.apply(x, { training })].flat()
    if (!this.#normalize) return y
    const [n, width] = y.shape
    const rows = tf.reshape(y, [n * this.#heads, width / this.#heads])
    const unit = tf.mul(rows, tf.rsqrt(tf.add(tf.sum(tf.square(rows), 1, true), normEpsilon)))
    return tf.reshape(unit, [n, width])
  }
}

const sizeOf = ({ shape }: LayerVariable): number =>
  shape.reduce<number>((product, n) => product * (n ?? 1), 1)

function check(model: LayersModel, { path, width, dim, heads }: LayersTowerShape): void {
  const refuse = (reason: string): never => {
    throw new ServiceError('LAYERS_MODEL_INVALID', { path, reason })
  }
  const { inputs, outputs } = model
  if (inputs.length !== 1 || outputs.length !== 1) refuse('must have one input and one output')
  checkShape(inputs[0].shape, width, (given) =>
    refuse(`takes ${given}, the tower's features are [, ${width}]`),
  )
  const expected = heads === 1 ? `${dim}]` : `${dim}] for each of ${heads} heads`
  checkShape(outputs[0].shape, heads * dim, (given) =>
    refuse(`gives ${given}, the model's dim is [, ${expected}`),
  )
  const layer = model.layers.find((one) => changing.has(one.getClassName()))
  if (layer !== undefined) {
    refuse(`its layer ${layer.name} (${layer.getClassName()}) changes without being trained`)
  }
}

function checkShape(
  shape: readonly (number | null)[],
  columns: number,
  refuse: (given: string) => void,
): void {
  if (shape.length === 2 && shape[1] === columns) return
  refuse(`[${shape.map((n) => n ?? '').join(', ')}]`)
}
