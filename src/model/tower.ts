/**
 * One tower as programs over its rows: forward, backward to its inputs, and the gradients of its
 * weights. Only addresses are decided here; see src/kernels/tower-kernels.ts for what runs.
 */
import { unreachable } from '../base/assert.ts'
import type { Block } from '../kernels/arena.ts'
import { activationCode, type ActivationCode } from '../kernels/dense-kernels.ts'
import type { Address } from '../kernels/operands.ts'
import type { Allocator, DenseParameters } from './dense-parameters.ts'
import { dropoutSalt, type Instruction, type Program } from './program.ts'
import type { LayerSpec } from './spec.ts'
import type { TowerShape } from './tower-weights.ts'

/** Added to the sum of squares before a row is divided by its root. */
export const normEpsilon = 1e-12
/** Added to a row's variance by a layer norm. */
export const varianceEpsilon = 1e-5
const bytesPerFloat = 4

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

type Layer<Kind extends LayerSpec['kind']> = Extract<LayerSpec, { kind: Kind }>
type Activated = Layer<'dense' | 'residual'>

/** Cross layers that follow each other. */
interface CrossRun {
  /** What entered the first, and the sum of the gradients by it but for those by way of x. */
  readonly x0: Matter
  readonly gradients: Address
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
  /** Of the two. */
  readonly #isFirst: boolean
  #nextWeight: Matrix
  #crossRun: CrossRun | undefined

  /** `firstWeight`: where its weights start among the parameters. */
  constructor(
    allocator: Allocator,
    shape: TowerShape,
    parameters: DenseParameters,
    firstWeight: number,
  ) {
    this.#allocator = allocator
    this.#maxRows = shape.maxRows
    this.#isFirst = firstWeight === 0
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
    for (const [i, layer] of shape.layers.entries()) {
      const next = shape.layers[i + 1]
      matter =
        layer.kind === 'dropout'
          ? this.#dropout(layer, matter, i)
          : this.#layer(layer, matter, next)
    }
    if (shape.normalize) {
      const inPlace = !isReadBackwards(shape.layers.at(-1))
      matter = this.#normalize(matter, { inPlace, heads: shape.heads })
    }
    this.output = matter.values
    this.outputGradients = matter.gradients
  }

  #layer(
    layer: Exclude<LayerSpec, { kind: 'dropout' }>,
    x: Matter,
    next: LayerSpec | undefined,
  ): Matter {
    switch (layer.kind) {
      case 'dense':
        return this.#dense(layer, x)
      case 'residual':
        return this.#residual(layer, x)
      case 'cross':
        return this.#cross(layer, x, next?.kind !== 'cross')
      case 'layerNorm':
        return this.#layerNorm(x)
      default:
        return unreachable(layer)
    }
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
  #dense({ units, activation }: Activated, x: Matter): Matter {
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
  #residual({ units, activation }: Activated, x: Matter): Matter {
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

  /** u = x W, or with a lower rank x U V; y = x0 (u + b + diagScale x) + x. */
  #cross({ projectionDim, diagScale }: Layer<'cross'>, x: Matter, isLast: boolean): Matter {
    const { columns } = x
    const isFirst = this.#crossRun === undefined
    const run = this.#crossRun ?? { x0: x, gradients: this.#buffer(columns) }
    this.#crossRun = isLast ? undefined : run
    const u = this.#matter(columns)
    const back: Instruction[] = []
    if (projectionDim === undefined) {
      this.#product(x, u, back)
    } else {
      const projected = this.#matter(projectionDim)
      this.#product(x, projected, back)
      this.#product(projected, u, back)
    }
    const bias = this.#matrix(columns)
    const y = this.#matter(columns)
    const [x0, d0] = [run.x0.values, run.gradients]
    const given = [y.values, u.values, x0, x.values, bias.values, columns, diagScale]
    this.forward.push({ operation: 'crossRows', unit: 1, operands: given })
    this.backward.unshift(
      {
        operation: 'crossBackward',
        unit: columns,
        operands: [u.gradients, d0, y.gradients, u.values, x0, isLast ? 0 : 1],
      },
      ...back,
      added(x, y.gradients, 1),
      ...(diagScale === 0 ? [] : [added(x, u.gradients, diagScale)]),
      ...(isFirst ? [added(x, d0, 1)] : []),
    )
    this.#biasGradient(bias, u)
    return y
  }

  /** y = x W; what leads back from y's gradients to x's is put in front of `back`. */
  #product(x: Matter, y: Matter, back: Instruction[]): void {
    const weights = this.#matrix(x.columns * y.columns)
    const b = this.#transposed(weights, x.columns, y.columns)
    this.forward.push(
      product({ c: y.values, a: x.values, b: weights.values, n: y.columns, k: x.columns }),
    )
    back.unshift(product({ c: x.gradients, a: y.gradients, b, n: x.columns, k: y.columns }))
    this.#weightGradient(weights, x, y)
  }

  #layerNorm(x: Matter): Matter {
    const { columns } = x
    const gain = this.#matrix(columns)
    const bias = this.#matrix(columns)
    const [unit, inverses] = [this.#buffer(columns), this.#buffer(1)]
    const y = this.#matter(columns)
    const learned = [gain.values, bias.values]
    const given = [y.values, unit, inverses, x.values, ...learned, columns, varianceEpsilon]
    this.forward.push({ operation: 'layerNorm', unit: 1, operands: given })
    const back = [x.gradients, y.gradients, unit, inverses, gain.values, columns]
    this.backward.unshift({ operation: 'layerNormBackward', unit: 1, operands: back })
    const operands = [gain.gradients, y.gradients, unit, 0, columns, 0]
    this.weightGradients.push({
      rows: columns,
      instructions: [{ operation: 'sumProducts', unit: 1, operands, examples: 3 }],
    })
    this.#biasGradient(bias, y)
    return y
  }

  #dropout({ rate }: Layer<'dropout'>, x: Matter, layer: number): Matter {
    const y = this.#matter(x.columns)
    const salt = dropoutSalt(layer, this.#isFirst)
    const drawn = [salt, rate * 2 ** 32, 1 / (1 - rate)]
    const unit = x.columns
    this.forward.push({ operation: 'dropout', unit, operands: [y.values, x.values, ...drawn] })
    this.backward.unshift({
      operation: 'dropout',
      unit,
      operands: [x.gradients, y.gradients, ...drawn],
    })
    return y
  }

  /** A layer's output is normalised in place: what comes after it needs the longer rows no more. */
  #normalize(x: Matter, { inPlace, heads }: { inPlace: boolean; heads: number }): Matter {
    const { columns, gradients } = x
    const values = inPlace ? x.values : this.#buffer(columns)
    const inverses = this.#buffer(heads)
    const each = columns / heads
    const given = [values, inverses, x.values, each, normEpsilon]
    const back = [gradients, values, inverses, each]
    this.forward.push({ operation: 'normalizeRows', unit: heads, operands: given })
    this.backward.unshift({ operation: 'normalizeRowsBackward', unit: heads, operands: back })
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

/** x's gradients grow by a multiple of others. */
const added = (x: Matter, gradients: Address, factor: number): Instruction => {
  return { operation: 'addScaled', unit: x.columns, operands: [x.gradients, gradients, factor] }
}

/** Whether the way back reads the layer's output, and not only its sign; or there is no layer. */
const isReadBackwards = (layer: LayerSpec | undefined): boolean =>
  layer === undefined || (layer.kind === 'dense' && layer.activation === 'tanh')

const rowwise = (operation: 'biasActivation', ...operands: readonly number[]): Instruction => ({
  operation,
  unit: 1,
  operands,
})

/** y's gradients become those of the sum before the activation, in place. */
function slope(code: ActivationCode, y: Matter, sum: Address): readonly Instruction[] {
  if (code === activationCode.linear) return []
  return [{ operation: 'activationBackward', unit: y.columns, operands: [y.gradients, sum, code] }]
}
