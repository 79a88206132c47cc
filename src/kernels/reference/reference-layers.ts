/** The twins of assembly/layers.ts. */
import { activationCode, type ActivationCode, type LayerKernels } from '../dense-kernels.ts'
import { dot32, exp32, polynomial } from './reference-exp-log.ts'

const { fround, sqrt } = Math

/** Abramowitz and Stegun, formula 7.1.26, without its zeroth term. */
const tailCoefficients = Float32Array.of(
  1.061405429,
  -1.453152027,
  1.421413741,
  -0.284496736,
  0.254829592,
)
const tailScale = fround(0.2316418882)
const densityScale = fround(0.3989422804)

export function referenceLayerKernels(memory: WebAssembly.Memory): LayerKernels {
  const floats = new Float32Array(memory.buffer)
  return {
    biasActivation: (...[out, x, bias, columns, activation, from, to]) => {
      for (let i = from * columns; i < to * columns; i += 1) {
        const at = (x >>> 2) + i
        if (bias !== 0) floats[at] += floats[(bias >>> 2) + (i % columns)]
        floats[(out >>> 2) + i] = activate(floats[at], activation)
      }
    },
    activationBackward: (...[gradients, x, activation, from, to]) => {
      for (let i = from; i < to; i += 1) {
        const at = (gradients >>> 2) + i
        floats[at] = slope(floats[at], floats[(x >>> 2) + i], activation)
      }
    },
    sumColumns: (...[out, x, rows, columns, accumulate, from, to]) => {
      for (let j = from; j < to; j += 1) {
        let sum = accumulate === 1 ? floats[(out >>> 2) + j] : 0
        for (let i = 0; i < rows; i += 1) sum = fround(sum + floats[(x >>> 2) + i * columns + j])
        floats[(out >>> 2) + j] = sum
      }
    },
    normalizeRows: (...[out, inverses, x, columns, epsilon, from, to]) => {
      for (let i = from; i < to; i += 1) {
        const row = (x >>> 2) + i * columns
        const squares = dot32(floats, row, row, columns)
        const inverse = fround(1 / fround(sqrt(fround(squares + fround(epsilon)))))
        floats[(inverses >>> 2) + i] = inverse
        const target = (out >>> 2) + i * columns
        for (let j = 0; j < columns; j += 1) floats[target + j] = fround(floats[row + j] * inverse)
      }
    },
    normalizeRowsBackward: (...[gradients, y, inverses, columns, from, to]) => {
      for (let i = from; i < to; i += 1) {
        const g = (gradients >>> 2) + i * columns
        const unit = (y >>> 2) + i * columns
        const along = dot32(floats, g, unit, columns)
        const inverse = floats[(inverses >>> 2) + i]
        for (let j = 0; j < columns; j += 1) {
          const across = fround(floats[g + j] - fround(floats[unit + j] * along))
          floats[g + j] = fround(across * inverse)
        }
      }
    },
  }
}

function activate(x: number, activation: ActivationCode): number {
  if (activation === activationCode.relu) return x < 0 ? 0 : x
  if (activation === activationCode.gelu) return fround(x * cumulative(x, bell(x)))
  if (activation === activationCode.tanh) return hyperbolicTangent(x)
  return x
}

const hyperbolicTangent = (x: number): number =>
  fround(1 - fround(2 / fround(exp32(fround(x + x)) + 1)))

function slope(gradient: number, x: number, activation: ActivationCode): number {
  if (activation === activationCode.relu) return x > 0 ? gradient : 0
  if (activation === activationCode.tanh) return fround(gradient * fround(1 - fround(x * x)))
  if (activation !== activationCode.gelu) return gradient
  const e = bell(x)
  const density = fround(e * densityScale)
  return fround(gradient * fround(cumulative(x, e) + fround(x * density)))
}

const bell = (x: number): number => exp32(fround(fround(x * x) * -0.5))

/** Phi(x), given exp(-x x / 2). */
function cumulative(x: number, e: number): number {
  const t = fround(1 / fround(1 + fround(tailScale * Math.abs(x))))
  const series = fround(polynomial(tailCoefficients, t) * t)
  const tail = fround(fround(series * e) * 0.5)
  return x < 0 ? tail : fround(1 - tail)
}
