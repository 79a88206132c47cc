/** The matrices of a tower's layers: how many, how large, and what is in them at the start. */
import { unreachable } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import { layerOutput } from './plan.ts'
import type { LayerSpec } from './spec.ts'

export interface TowerShape {
  readonly layers: readonly LayerSpec[]
  readonly normalize: boolean
  /** Vectors in a row of output. */
  readonly heads: number
  /** Floats of input per row. */
  readonly width: number
  readonly maxRows: number
}

export interface WeightShape {
  readonly rows: number
  readonly columns: number
  /** Whether it is added to, or multiplied with, every row: one row of its own. */
  readonly isVector: boolean
  /** A number for all, or uniform within `spread` of 0. */
  readonly start: number
  readonly spread: number
}

/** Glorot and Bengio 2010: the variance of what passes is kept forwards and backwards. */
const matrix = (rows: number, columns: number): WeightShape => {
  return { rows, columns, isVector: false, start: 0, spread: Math.sqrt(6 / (rows + columns)) }
}
const constant = (columns: number, start: number, rows?: number): WeightShape => {
  return { rows: rows ?? 1, columns, isVector: rows === undefined, start, spread: 0 }
}

/** Of one layer, given the floats of its input. */
export function layerWeights(layer: LayerSpec, input: number): readonly WeightShape[] {
  switch (layer.kind) {
    case 'dense':
      return [matrix(input, layer.units), constant(layer.units, 0)]
    case 'residual': {
      const { units } = layer
      return [matrix(input, units), constant(units, 0), constant(input, 0, units)]
    }
    case 'cross': {
      const { projectionDim: rank } = layer
      if (rank === undefined) return [matrix(input, input), constant(input, 0)]
      return [matrix(input, rank), matrix(rank, input), constant(input, 0)]
    }
    case 'layerNorm':
      return [constant(input, 1), constant(input, 0)]
    case 'dropout':
      return []
    default:
      return unreachable(layer)
  }
}

/** In the order in which they stand among the weights. */
export function weightShapes({ layers, width }: TowerShape): readonly WeightShape[] {
  let input = width
  return layers.flatMap((layer) => {
    const shapes = layerWeights(layer, input)
    input = layerOutput(layer, input)
    return shapes
  })
}

export const weightCount = (shape: TowerShape): number =>
  weightShapes(shape).reduce((sum, { rows, columns }) => sum + rows * columns, 0)

export function initialWeights(shape: TowerShape, random: Random, into: Float32Array): void {
  let at = 0
  for (const { rows, columns, start, spread } of weightShapes(shape)) {
    for (let i = 0; i < rows * columns; i += 1) {
      into[at] = spread === 0 ? start : spread * (2 * random.next() - 1)
      at += 1
    }
  }
}
