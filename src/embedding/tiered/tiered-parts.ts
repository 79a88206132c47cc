/**
 * What the parts of a tiered table share: the kind of table that its directory is, and parts of a
 * batch: the keys or floats of those members that a mark chooses.
 */
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { copyKey } from '../memory/key-list.ts'
import type { TableSpec } from '../table-spec.ts'

/** Stamps alone: a row of one float that learns nothing. */
export const directorySpec = (spec: TableSpec): TableSpec => {
  const { admission: _, ...rest } = spec
  return {
    ...rest,
    dim: 1,
    initializer: { kind: 'zeros' },
    optimizer: { kind: 'sgd', rate: 0, gradients: 'sum' },
  }
}

type Marks = Uint32Array | Uint8Array

/** The keys i with marks[i] = mark, in order: the batch itself if they are all. */
export function chosenKeys(keys: Keys, marks: Marks, mark: number): Keys {
  const n = keyCount(keys)
  const chosen = new Uint32Array(keys.length)
  let count = 0
  for (let i = 0; i < n; i += 1) {
    if (marks[i] !== mark) continue
    copyKey(chosen, count, keys, i)
    count += 1
  }
  return chosen.subarray(0, 2 * count)
}

/** The rows of `width` floats whose mark is 1. */
export function chosenFloats(floats: Float32Array, marks: Marks, width: number): Float32Array {
  const chosen = new Float32Array(marks.length * width)
  let at = 0
  for (let i = 0; i < marks.length; i += 1) {
    if (marks[i] !== 1) continue
    chosen.set(floats.subarray(i * width, (i + 1) * width), at)
    at += width
  }
  return chosen.subarray(0, at)
}
