/** Tower outputs as the index and the evaluation want them. */

export interface OutputRows {
  readonly into: Float32Array
  /** Floats that a tower gives per vector, and those of a row: one more with popularity. */
  readonly dim: number
  readonly width: number
  readonly n: number
  /** Rows of each of n, with one last float in common. */
  readonly heads: number
  readonly factor: number
  readonly last: Float32Array | undefined
}

/** Each vector times `factor`, and a last float where there is room for one (absent: 0). */
export function outputRows(vectors: Float32Array, rows: OutputRows): Float32Array {
  const { into, dim, width, n, heads, factor, last } = rows
  const count = n * heads
  for (let i = 0; i < count; i += 1) {
    for (let j = 0; j < dim; j += 1) into[i * width + j] = vectors[i * dim + j] * factor
    if (width > dim) into[i * width + dim] = last?.[Math.floor(i / heads)] ?? 0
  }
  return into.subarray(0, count * width)
}
