/** A matrix in an array of this thread, row by row. */
export class HostRows {
  readonly values: Float32Array
  readonly width: number

  constructor(values: Float32Array, width: number) {
    this.values = values
    this.width = width
  }

  static zeros(rows: number, width: number): HostRows {
    return new HostRows(new Float32Array(rows * width), width)
  }

  /** The product of row i with another's row j, of their first `n` numbers. */
  dot(i: number, other: HostRows, j: number, n: number): number {
    const [a, b] = [this.values, other.values]
    const [at, from] = [i * this.width, j * other.width]
    let sum = 0
    for (let d = 0; d < n; d += 1) sum += a[at + d] * b[from + d]
    return sum
  }

  /** Adds to row i a multiple of another's row j, as far as row i is long. */
  add(i: number, other: HostRows, j: number, factor: number): void {
    const { values, width } = this
    const [at, from] = [i * width, j * other.width]
    for (let d = 0; d < width; d += 1) values[at + d] += other.values[from + d] * factor
  }

  addTransposed(columns: Float32Array): void {
    const { values, width } = this
    const rows = values.length / width
    for (let i = 0; i < rows; i += 1) {
      for (let d = 0; d < width; d += 1) values[i * width + d] += columns[d * rows + i]
    }
  }
}
