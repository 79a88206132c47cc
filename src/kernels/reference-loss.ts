/** The twins of assembly/loss.ts. */
import type { LossKernels } from './dense-kernels.ts'
import { dot32, exp32, log32, sumLanes } from './reference-exp-log.ts'

const { fround } = Math

export function referenceLossKernels(memory: WebAssembly.Memory): LossKernels {
  const floats = new Float32Array(memory.buffer)
  const ints = new Int32Array(memory.buffer)
  return {
    maskPairs: (...[scores, columns, pairs, count, from, to]) => {
      for (let i = 0; i < count; i += 1) {
        const row = ints[(pairs >>> 2) + 2 * i]
        const column = ints[(pairs >>> 2) + 2 * i + 1]
        if (row >= from && row < to) floats[(scores >>> 2) + row * columns + column] = -Infinity
      }
    },
    softmaxLoss: (...[scores, losses, columns, targets, weights, corrections, own, ...rest]) => {
      const [popularity, popularityWeights, popularityGradients, scale, normalizer, from, to] = rest
      for (let i = from; i < to; i += 1) {
        const at = (address: number): number => (address >>> 2) + i
        const line = (scores >>> 2) + i * columns
        const target = ints[at(targets)]
        const weight = floats[at(weights)]
        const outcome = softmaxRow(floats, {
          line,
          columns,
          target,
          corrections: corrections >>> 2,
          ownCorrection: floats[at(own)],
          popularity: popularity >>> 2,
          pull: popularity === 0 ? 0 : floats[at(popularityWeights)],
          scale: fround(scale),
          share: fround(fround(normalizer) * weight),
        })
        floats[at(losses)] = target < 0 ? 0 : fround(weight * outcome.loss)
        if (popularity !== 0) floats[at(popularityGradients)] = outcome.popularityGradient
      }
    },
  }
}

/** One row; positions are indices into the floats, `popularity` 0 is absent. */
interface Row {
  readonly line: number
  readonly columns: number
  readonly target: number
  readonly corrections: number
  readonly ownCorrection: number
  readonly popularity: number
  readonly pull: number
  readonly scale: number
  /** The row's weight times the normalizer. */
  readonly share: number
}

/** Leaves the gradients in the row's scores. */
function softmaxRow(
  floats: Float32Array,
  row: Row,
): { readonly loss: number; readonly popularityGradient: number } {
  const { line, columns, target, popularity, scale, share } = row
  if (target < 0) {
    floats.fill(0, line, line + columns)
    return { loss: 0, popularityGradient: 0 }
  }
  writeLogits(floats, row)
  const own = floats[line + target]
  const most = largest(floats, line, columns)
  const lanes = new Float32Array(4)
  for (let j = 0; j < columns; j += 1) {
    const e = exp32(fround(floats[line + j] - most))
    floats[line + j] = e
    lanes[j & 3] += e
  }
  const total = sumLanes(lanes)
  const loss = fround(log32(total) + fround(most - own))

  const perExponential = fround(share / total)
  const expected = popularity === 0 ? 0 : dot32(floats, line, popularity, columns)
  const popularityGradient = fround(
    fround(expected * perExponential) - fround(share * floats[popularity + target]),
  )
  const factor = fround(perExponential * scale)
  for (let j = 0; j < columns; j += 1) floats[line + j] = fround(floats[line + j] * factor)
  floats[line + target] = fround(floats[line + target] - fround(share * scale))
  return { loss, popularityGradient }
}

function writeLogits(floats: Float32Array, row: Row): void {
  const { line, columns, target, popularity, pull, scale } = row
  for (let j = 0; j < columns; j += 1) {
    const correction = j === target ? row.ownCorrection : floats[row.corrections + j]
    const logit = fround(fround(scale * floats[line + j]) + correction)
    const popular = popularity === 0 ? 0 : fround(pull * floats[popularity + j])
    floats[line + j] = popularity === 0 ? logit : fround(logit + popular)
  }
}

function largest(floats: Float32Array, line: number, columns: number): number {
  let most = -Infinity
  for (let j = 0; j < columns; j += 1) if (most < floats[line + j]) most = floats[line + j]
  return most
}
