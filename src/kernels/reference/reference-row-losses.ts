/** The twins of assembly/row-losses.ts, on a row of scores in an array of floats. */
import { exp32, log32, sumLanes } from './reference-exp-log.ts'

const { abs, fround, max } = Math

/** Where a row's scores start and the columns' corrections, as indices. */
interface Row {
  readonly line: number
  readonly corrections: number
  readonly columns: number
}

const bits = new DataView(new ArrayBuffer(4))
/** A float's bits as a whole number that is ordered as floats are. */
function keyOf(x: number): number {
  bits.setFloat32(0, x)
  const word = bits.getInt32(0)
  return word ^ ((word >> 31) & 0x7fffffff)
}
const keyOfNothing = keyOf(-Infinity)

const keysOf = (floats: Float32Array, { line, corrections, columns }: Row): number[] =>
  Array.from({ length: columns }, (_, j) =>
    keyOf(fround(floats[line + j] + floats[corrections + j])),
  )

/** Of the negatives only the `count` largest stay, of equal ones the first. */
export function keepHardest(floats: Float32Array, row: Row, count: number): void {
  const keys = keysOf(floats, row)
  const columns = [...keys.keys()].filter((j) => keys[j] > keyOfNothing)
  for (const j of columns.toSorted((a, b) => keys[b] - keys[a] || a - b).slice(count)) {
    floats[row.line + j] = -Infinity
  }
}

function softplus(x: number): number {
  return fround(max(x, 0) + log32(fround(1 + exp32(-abs(x)))))
}

function sigmoid(x: number): number {
  const e = exp32(-abs(x))
  const inverse = fround(1 / fround(1 + e))
  return x >= 0 ? inverse : fround(e * inverse)
}

/** The loss of a row, whose scores become its gradients. */
export function pairwiseRow(
  floats: Float32Array,
  row: Row,
  given: { readonly kind: 'sigmoid' | 'bpr'; readonly own: number; readonly target: number },
): number {
  const { kind, own, target } = given
  const { line, corrections, columns } = row
  const negatives = keysOf(floats, row).filter((key) => key > keyOfNothing).length
  const share = fround(1 / max(1, negatives))
  const shift = kind === 'bpr' ? own : 0
  const losses = new Float32Array(4)
  const slopes = new Float32Array(4)
  for (let j = 0; j < columns; j += 1) {
    const x = fround(fround(floats[line + j] + floats[corrections + j]) - shift)
    losses[j & 3] += softplus(x)
    floats[line + j] = sigmoid(x) * share
    slopes[j & 3] += floats[line + j]
  }
  const loss = fround(sumLanes(losses) * share)
  if (kind === 'bpr') {
    floats[line + target] = -sumLanes(slopes)
    return loss
  }
  floats[line + target] = -sigmoid(-own)
  return fround(loss + softplus(-own))
}
