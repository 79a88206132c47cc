/**
 * One tower as programs over its rows: forward, backward to its inputs, and the gradients of its
 * weights. Only addresses are decided here; see src/kernels/tower-kernels.ts for what runs.
 */
import type { Random } from '../base/random.ts'
import type { Block } from '../kernels/arena.ts'
import { activationCode, type ActivationCode } from '../kernels/dense-kernels.ts'
import type { Address } from '../kernels/operands.ts'
import type { Allocator, DenseParameters } from './dense-parameters.ts'
import { layerOutput } from './plan.ts'
import type { Instruction, Program } from './program.ts'
import type { LayerSpec } from './spec.ts'

/** Added to the sum of squares before a row is divided by its root. */
const normEpsilon = 1e-12
const bytesPerFloat = 4

export interface TowerShape {
  readonly layers: readonly LayerSpec[]
  readonly normalize: boolean
  /** Floats of input per row. */
  readonly width: number
  readonly maxRows: number
}

/** Matrices of a layer, in the order in which they stand among the weights. */
interface WeightShape {
  readonly rows: number
  readonly columns: number
  /** Uniform within this of 0 at the start; 0: zeros. */
  readonly spread: number
}

function weightShapes({ layers, width }: TowerShape): readonly WeightShape[] {
  const shapes: WeightShape[] = []
  let input = width
  for (const layer of layers) {
    const { units } = layer
    // Glorot and Bengio 2010: the variance of what passes is kept forwards and backwards.
    const spread = Math.sqrt(6 / (input + units))
    shapes.push({ rows: input, columns: units, spread }, { rows: 1, columns: units, spread: 0 })
    if (layer.kind === 'residual') shapes.push({ rows: units, columns: input, spread: 0 })
    input = layerOutput(layer, input)
  }
  return shapes
}

export const weightCount = (shape: TowerShape): number =>
  weightShapes(shape).reduce((sum, { rows, columns }) => sum + rows * columns, 0)

export function initialWeights(shape: TowerShape, random: Random, into: Float32Array): void {
  let at = 0
  for (const { rows, columns, spread } of weightShapes(shape)) {
    for (let i = 0; i < rows * columns; i += 1) {
      into[at] = spread === 0 ? 0 : spread * (2 * random.next() - 1)
      at += 1
    }
  }
}

/** Where a layer's matrices and their gradients are. */
interface Matrix {
  readonly values: Address
  readonly gradients: Address
}

/** What stands on one side of a layer: its values and the gradients by them. */
interface Matter {
  readonly values: Address
  readonly gradients: Address
  readonly columns: number
}

/**
 * Values flow from `input` to `output`; gradients from `outputGradients` to `inputGradients`, in
 * buffers of their own, because a layer's gradients are needed once more for its weights'.
 */
export class Tower {
  readonly input: Block<Float32Array>
  readonly inputGradients: Block<Float32Array>
  readonly output: Address
  readonly outputGradients: Address
  readonly forward: Instruction[] = []
  readonly backward: Instruction[] = []
  /** One program for each matrix of weights, its rows those of the matrix. */
  readonly weightGradients: Program[] = []
  /**
   * Likewise, for those that `backward` reads: their columns become rows, once for a batch, so that
   * it multiplies by them as `forward` does.
   */
  readonly transposes: Program[] = []
  readonly #allocator: Allocator
  readonly #maxRows: number
  #nextWeight: Matrix

  /** `firstWeight`: where its weights start among the parameters. */
  constructor(
    allocator: Allocator,
    shape: TowerShape,
    parameters: DenseParameters,
    firstWeight: number,
  ) {
    this.#allocator = allocator
    this.#maxRows = shape.maxRows
    this.#nextWeight = {
      values: parameters.values.address + firstWeight * bytesPerFloat,
      gradients: parameters.gradients.address + firstWeight * bytesPerFloat,
    }
    this.input = allocator.floats(shape.maxRows * shape.width)
    this.inputGradients = allocator.floats(shape.maxRows * shape.width)
    let matter: Matter = {
      values: this.input.address,
      gradients: this.inputGradients.address,
      columns: shape.width,
    }
    for (const layer of shape.layers) {
      matter = layer.kind === 'dense' ? this.#dense(layer, matter) : this.#residual(layer, matter)
    }
    if (shape.normalize) matter = this.#normalize(matter, shape.layers.length > 0)
    this.output = matter.values
    this.outputGradients = matter.gradients
  }

  #buffer(columns: number): Address {
    return this.#allocator.floats(this.#maxRows * columns).address
  }

  #matter(columns: number): Matter {
    return { values: this.#buffer(columns), gradients: this.#buffer(columns), columns }
  }

  #matrix(floats: number): Matrix {
    const matrix = this.#nextWeight
    const bytes = floats * bytesPerFloat
    this.#nextWeight = { values: matrix.values + bytes, gradients: matrix.gradients + bytes }
    return matrix
  }

  /** Where the transpose of a matrix of so many rows and columns will be. */
  #transposed({ values }: Matrix, rows: number, columns: number): Address {
    const { address } = this.#allocator.floats(rows * columns)
    const operands = [address, rows, values, columns]
    this.transposes.push({
      rows,
      instructions: [{ operation: 'transposeRows', unit: 1, operands }],
    })
    return address
  }

  /** y = activation(x W + b). */
  #dense({ units, activation }: LayerSpec, x: Matter): Matter {
    const weights = this.#matrix(x.columns * units)
    const bias = this.#matrix(units)
    const y = this.#matter(units)
    const code = activationCode[activation]
    const sum = this.#sum(code, y)
    const back = this.#transposed(weights, x.columns, units)
    this.forward.push(
      product({ c: sum, a: x.values, b: weights.values, n: units, k: x.columns }),
      rowwise('biasActivation', y.values, sum, bias.values, units, code),
    )
    this.backward.unshift(
      ...slope(code, y, sum),
      product({ c: x.gradients, a: y.gradients, b: back, n: x.columns, k: units }),
    )
    this.#weightGradient(weights, x, y)
    this.#biasGradient(bias, y)
    return y
  }

  /** y = x + activation(x W1 + b) W2. */
  #residual({ units, activation }: LayerSpec, x: Matter): Matter {
    const inner = this.#matrix(x.columns * units)
    const bias = this.#matrix(units)
    const outer = this.#matrix(units * x.columns)
    const h = this.#matter(units)
    const y = this.#matter(x.columns)
    const code = activationCode[activation]
    const sum = this.#sum(code, h)
    const whole = x.columns
    this.forward.push(
      product({ c: sum, a: x.values, b: inner.values, n: units, k: whole }),
      rowwise('biasActivation', h.values, sum, bias.values, units, code),
      product({ c: y.values, a: h.values, b: outer.values, n: whole, k: units }),
      { operation: 'addScaled', unit: whole, operands: [y.values, x.values, 1] },
    )
    const back = this.#transposed(outer, units, whole)
    const through = this.#transposed(inner, whole, units)
    this.backward.unshift(
      product({ c: h.gradients, a: y.gradients, b: back, n: units, k: whole }),
      ...slope(code, h, sum),
      product({ c: x.gradients, a: h.gradients, b: through, n: whole, k: units }),
      { operation: 'addScaled', unit: whole, operands: [x.gradients, y.gradients, 1] },
    )
    this.#weightGradient(inner, x, h)
    this.#biasGradient(bias, h)
    this.#weightGradient(outer, h, y)
    return y
  }

  /** A layer's output is normalised in place: what comes after it needs the longer rows no more. */
  #normalize(x: Matter, inPlace: boolean): Matter {
    const { columns, gradients } = x
    const values = inPlace ? x.values : this.#buffer(columns)
    const inverses = this.#buffer(1)
    this.forward.push(rowwise('normalizeRows', values, inverses, x.values, columns, normEpsilon))
    this.backward.unshift(rowwise('normalizeRowsBackward', gradients, values, inverses, columns))
    return { values, gradients, columns }
  }

  /**
   * Where x W goes before the activation: gelu's slope needs it, the others' see it in the output.
   */
  #sum(code: ActivationCode, y: Matter): Address {
    return code === activationCode.gelu ? this.#buffer(y.columns) : y.values
  }

  #weightGradient(weights: Matrix, x: Matter, y: Matter): void {
    const operands = [weights.gradients, x.values, y.gradients, x.columns, y.columns, 0, 0]
    this.weightGradients.push({
      rows: x.columns,
      instructions: [{ operation: 'matmulTransposedA', unit: 1, operands, examples: 5 }],
    })
  }

  #biasGradient(bias: Matrix, y: Matter): void {
    const operands = [bias.gradients, y.gradients, 0, y.columns, 0]
    this.weightGradients.push({
      rows: y.columns,
      instructions: [{ operation: 'sumColumns', unit: 1, operands, examples: 2 }],
    })
  }
}

type Product = Readonly<Record<'c' | 'a' | 'b' | 'n' | 'k', number>>

/** C = A B, n columns, k summed over; the number of rows is the program's. */
const product = ({ c, a, b, n, k }: Product): Instruction => ({
  operation: 'matmul',
  unit: 1,
  operands: [c, a, b, 0, n, k, 0],
})

const rowwise = (
  operation: 'biasActivation' | 'normalizeRows' | 'normalizeRowsBackward',
  ...operands: readonly number[]
): Instruction => ({ operation, unit: 1, operands })

/** y's gradients become those of the sum before the activation, in place. */
function slope(code: ActivationCode, y: Matter, sum: Address): readonly Instruction[] {
  if (code === activationCode.linear) return []
  return [{ operation: 'activationBackward', unit: y.columns, operands: [y.gradients, sum, code] }]
}
