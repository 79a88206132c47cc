/**
 * A tower as a TensorFlow.js LayersModel, of layers that every reader of the format has: what is
 * none of them is said with several. Cross layers are products and sums; a row is brought to length
 * one by a layer norm of the row beside its negative, whose mean is 0 and whose variance is its
 * squared length over its dim.
 */
import { present, unreachable } from '../base/assert.ts'
import type { LayerSpec } from './spec.ts'
import { layerWeights, type TowerShape } from './tower-weights.ts'
import { normEpsilon, varianceEpsilon } from './tower.ts'

interface WeightSpec {
  readonly name: string
  readonly shape: readonly number[]
  readonly dtype: 'float32'
}

/** A model.json and its weights, as `tf.io` has them in memory; weights one behind the other. */
export interface ModelArtifacts {
  readonly modelTopology: object
  readonly weightSpecs: readonly object[]
  readonly weightData: ArrayBuffer
}

type Shape = Pick<TowerShape, 'layers' | 'normalize' | 'width' | 'heads'>

/** `weights`: the tower's, as an engine saves them. */
export function exportTower(name: string, shape: Shape, weights: Float32Array): ModelArtifacts {
  const writer = new LayersWriter(shape.width)
  let at = 0
  let x: Node = { name: 'features', width: shape.width }
  let x0 = x
  for (const [i, layer] of shape.layers.entries()) {
    if (layer.kind === 'cross' && shape.layers[i - 1]?.kind !== 'cross') x0 = x
    const own = layerWeights(layer, x.width).map(({ rows, columns }) => {
      at += rows * columns
      return weights.subarray(at - rows * columns, at)
    })
    x = writer.layer(layer, { x, x0, weights: own })
  }
  if (shape.normalize) x = writer.unitLength(x, shape.heads)
  return writer.finish(name, x)
}

/** What a layer gives: the layer's name, and floats per row. */
interface Node {
  readonly name: string
  readonly width: number
}

interface Given {
  readonly x: Node
  /** What entered the first of the cross layers that follow each other. */
  readonly x0: Node
  readonly weights: readonly Float32Array[]
}

interface DenseOptions {
  readonly units: number
  readonly kernel: Float32Array
  readonly bias?: Float32Array
  readonly activation?: string
}

class LayersWriter {
  readonly #layers: object[] = []
  readonly #specs: WeightSpec[] = []
  readonly #values: Float32Array[] = []

  constructor(width: number) {
    const config = { batch_input_shape: [null, width], dtype: 'float32', sparse: false }
    this.#add('InputLayer', 'features', config, [])
  }

  layer(layer: LayerSpec, given: Given): Node {
    const { x, weights } = given
    switch (layer.kind) {
      case 'dense': {
        const [kernel, bias] = weights
        return this.#dense(x, { units: layer.units, kernel, bias, activation: layer.activation })
      }
      case 'residual': {
        const [kernel, bias, outer] = weights
        const { units, activation } = layer
        const inner = this.#dense(x, { units, kernel, bias, activation })
        return this.#merge('Add', [x, this.#dense(inner, { units: x.width, kernel: outer })])
      }
      case 'cross':
        return this.#cross(layer.diagScale, given)
      case 'layerNorm': {
        const [gamma, beta] = weights
        return this.#layerNorm(x, { gamma, beta, epsilon: varianceEpsilon })
      }
      case 'dropout':
        return x
      default:
        return unreachable(layer)
    }
  }

  /** Every head's for itself, where there are several. */
  unitLength(x: Node, heads: number): Node {
    if (heads === 1) return this.#unitRows(x, 1)
    const apart = this.#reshape(x, [heads, x.width / heads])
    return this.#reshape(this.#unitRows(apart, 2), [x.width])
  }

  /** `axis`: the last, of the numbers of a row. */
  #unitRows(x: Node, axis: number): Node {
    const { width } = x
    const both = diagonals(width, 2 * width, [1, -1])
    const pair = this.#dense(x, { units: 2 * width, kernel: both })
    const gamma = new Float32Array(2 * width).fill(1 / Math.sqrt(width))
    const beta = new Float32Array(2 * width)
    const normed = this.#layerNorm(pair, { gamma, beta, epsilon: normEpsilon / width, axis })
    return this.#dense(normed, { units: width, kernel: diagonals(2 * width, width, [1]) })
  }

  finish(name: string, output: Node): ModelArtifacts {
    // A model is not its input alone.
    const last =
      output.name === 'features'
        ? this.#add('Activation', 'output', { activation: 'linear' }, [output])
        : output.name
    const config = {
      name,
      layers: this.#layers,
      input_layers: [['features', 0, 0]],
      output_layers: [[last, 0, 0]],
    }
    return {
      modelTopology: { class_name: 'Model', config, keras_version: 'tfjs-layers 4.22.0' },
      weightSpecs: this.#specs,
      weightData: joined(this.#values),
    }
  }

  /** y = x0 (x W + b + diagScale x) + x, with W perhaps of two factors. */
  #cross(diagScale: number, { x, x0, weights }: Given): Node {
    const { width } = x
    const [first, second] = weights
    const bias = present(weights.at(-1), 'a bias')
    let u: Node
    if (weights.length === 2) {
      const kernel = first.map((w, i) => w + (i % (width + 1) === 0 ? diagScale : 0))
      u = this.#dense(x, { units: width, kernel, bias })
    } else {
      const projected = this.#dense(x, { units: first.length / width, kernel: first })
      u = this.#dense(projected, { units: width, kernel: second, bias })
      const diagonal = diagonals(width, width, [diagScale])
      if (diagScale !== 0) {
        u = this.#merge('Add', [u, this.#dense(x, { units: width, kernel: diagonal })])
      }
    }
    return this.#merge('Add', [this.#merge('Multiply', [x0, u]), x])
  }

  #dense(x: Node, { units, kernel, bias, activation = 'linear' }: DenseOptions): Node {
    const name = this.#next('dense')
    this.#weight(`${name}/kernel`, [x.width, units], kernel)
    if (bias !== undefined) this.#weight(`${name}/bias`, [units], bias)
    this.#add('Dense', name, { units, activation, use_bias: bias !== undefined }, [x])
    return { name, width: units }
  }

  #layerNorm(
    x: Node,
    options: Readonly<{ gamma: Float32Array; beta: Float32Array; epsilon: number; axis?: number }>,
  ): Node {
    const { gamma, beta, epsilon, axis = 1 } = options
    const name = this.#next('layer_norm')
    this.#weight(`${name}/gamma`, [x.width], gamma)
    this.#weight(`${name}/beta`, [x.width], beta)
    const config = { axis: [axis], epsilon, center: true, scale: true }
    this.#add('LayerNormalization', name, config, [x])
    return { name, width: x.width }
  }

  #reshape(x: Node, shape: readonly number[]): Node {
    const name = this.#add('Reshape', this.#next('reshape'), { target_shape: shape }, [x])
    return { name, width: shape[shape.length - 1] }
  }

  #merge(kind: 'Add' | 'Multiply', inputs: readonly Node[]): Node {
    return {
      name: this.#add(kind, this.#next(kind.toLowerCase()), {}, inputs),
      width: inputs[0].width,
    }
  }

  #next(kind: string): string {
    return `${kind}_${this.#layers.length}`
  }

  #weight(name: string, shape: readonly number[], values: Float32Array): void {
    this.#specs.push({ name, shape, dtype: 'float32' })
    this.#values.push(values)
  }

  #add(kind: string, name: string, config: object, inputs: readonly Node[]): string {
    const nodes = inputs.length === 0 ? [] : [inputs.map((input) => [input.name, 0, 0, {}])]
    const layer = { class_name: kind, name, config: { name, trainable: true, ...config } }
    this.#layers.push({ ...layer, inbound_nodes: nodes })
    return name
  }
}

/** rows x columns with these numbers on diagonals beside, or below, each other. */
function diagonals(rows: number, columns: number, values: readonly number[]): Float32Array {
  const matrix = new Float32Array(rows * columns)
  const size = Math.min(rows, columns)
  for (const [block, value] of values.entries()) {
    for (let i = 0; i < size; i += 1) matrix[i * columns + block * size + i] = value
  }
  return matrix
}

function joined(parts: readonly Float32Array[]): ArrayBuffer {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all.buffer
}
