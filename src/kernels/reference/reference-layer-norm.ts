/** The twins of assembly/layer-norm.ts. */
import type { LayerNormKernels } from '../dense-kernels.ts'
import { dot32, sumLanes } from './reference-exp-log.ts'

const { fround, sqrt } = Math

export function referenceLayerNormKernels(memory: WebAssembly.Memory): LayerNormKernels {
  const floats = new Float32Array(memory.buffer)
  const mean = (start: number, n: number): number => {
    const lanes = new Float32Array(4)
    for (let j = 0; j < n; j += 1) lanes[j & 3] += floats[start + j]
    return fround(sumLanes(lanes) / n)
  }
  return {
    layerNorm: (...[out, unit, inverses, x, gain, bias, columns, epsilon, from, to]) => {
      for (let row = from; row < to; row += 1) {
        const [source, centred] = [(x >>> 2) + row * columns, (unit >>> 2) + row * columns]
        const middle = mean(source, columns)
        for (let j = 0; j < columns; j += 1) floats[centred + j] = floats[source + j] - middle
        const variance = fround(dot32(floats, centred, centred, columns) / columns)
        const inverse = fround(1 / fround(sqrt(fround(variance + fround(epsilon)))))
        floats[(inverses >>> 2) + row] = inverse
        for (let j = 0; j < columns; j += 1) {
          const value = fround(floats[centred + j] * inverse)
          floats[centred + j] = value
          const scaled = fround(value * floats[(gain >>> 2) + j])
          floats[(out >>> 2) + row * columns + j] = scaled + floats[(bias >>> 2) + j]
        }
      }
    },
    layerNormBackward: (...[dx, g, unit, inverses, gain, columns, from, to]) => {
      for (let row = from; row < to; row += 1) {
        const [target, centred] = [(dx >>> 2) + row * columns, (unit >>> 2) + row * columns]
        for (let j = 0; j < columns; j += 1) {
          floats[target + j] = floats[(g >>> 2) + row * columns + j] * floats[(gain >>> 2) + j]
        }
        const middle = mean(target, columns)
        const along = fround(dot32(floats, target, centred, columns) / columns)
        const inverse = floats[(inverses >>> 2) + row]
        for (let j = 0; j < columns; j += 1) {
          const level = fround(floats[target + j] - middle)
          const across = fround(level - fround(floats[centred + j] * along))
          floats[target + j] = across * inverse
        }
      }
    },
    sumProducts: (...[out, x, y, rows, columns, accumulate, from, to]) => {
      for (let j = from; j < to; j += 1) {
        let sum = accumulate === 1 ? floats[(out >>> 2) + j] : 0
        for (let i = j; i < rows * columns; i += columns) {
          sum = fround(sum + fround(floats[(x >>> 2) + i] * floats[(y >>> 2) + i]))
        }
        floats[(out >>> 2) + j] = sum
      }
    },
  }
}
