/**
 * Points for index benchmarks: unit vectors from a mixture of 2,000 Gaussian centres, by a
 * counter-based hash and Box-Muller, so that any language can make the very same ones:
 *
 *     u32(stream, i)  = lowbias32(i ^ lowbias32(stream + 0x9e3779b9))
 *     gauss(stream,i) = sqrt(-2 ln((u32(stream, 2i) + 1) / 2^32))
 *                       cos(2 pi u32(stream, 2i + 1) / 2^32)
 *     point n         = unit(centre[u32(stream, n) % 2000]
 *                       + .7 / sqrt(dim) gauss(stream + 1, n dim ..))
 *
 * (lowbias32: Chris Wellons' hash.) Also given arrays in NumPy's format.
 */
import { readFileSync, writeFileSync } from 'node:fs'

import { ServiceError } from '../src/base/errors.ts'
import { npyHeader } from '../src/embedding/exchange/npy.ts'

/** n x dim, row-major. */
export interface Points {
  readonly n: number
  readonly dim: number
  readonly values: Float32Array
}

const centres = 2_000
const noise = 0.7
/** The stream of clusters that appear. */
const newCentres = 8

function lowbias32(value: number): number {
  let x = value
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d)
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b)
  return (x ^ (x >>> 16)) >>> 0
}

/** The numbers of one stream. */
class Stream {
  readonly #key: number

  constructor(stream: number) {
    this.#key = lowbias32((stream + 0x9e3779b9) | 0)
  }

  uint32(i: number): number {
    return lowbias32(i ^ this.#key)
  }

  gauss(i: number): number {
    const radius = Math.sqrt(-2 * Math.log((this.uint32(2 * i) + 1) / 2 ** 32))
    return radius * Math.cos((2 * Math.PI * this.uint32(2 * i + 1)) / 2 ** 32)
  }
}

function normalizeRow(values: Float32Array, row: number, dim: number): void {
  let sum = 0
  for (let d = row * dim; d < (row + 1) * dim; d += 1) sum += values[d] * values[d]
  const scale = 1 / Math.sqrt(sum)
  for (let d = row * dim; d < (row + 1) * dim; d += 1) values[d] *= scale
}

/** `stream`: 2 for the items and 4 for the queries of the published comparisons. */
export function mixture(n: number, dim: number, stream: number, centresFrom = 1): Points {
  const centre = new Float32Array(centres * dim)
  const centreStream = new Stream(centresFrom)
  for (let i = 0; i < centre.length; i += 1) centre[i] = centreStream.gauss(i)
  for (let c = 0; c < centres; c += 1) normalizeRow(centre, c, dim)
  const [assignment, spread] = [new Stream(stream), new Stream(stream + 1)]
  const values = new Float32Array(n * dim)
  const scale = noise / Math.sqrt(dim)
  for (let i = 0; i < n; i += 1) {
    const from = (assignment.uint32(i) % centres) * dim
    for (let d = 0; d < dim; d += 1) {
      values[i * dim + d] = centre[from + d] + scale * spread.gauss(i * dim + d)
    }
    normalizeRow(values, i, dim)
  }
  return { n, dim, values }
}

/** Each point moved by a Gaussian of length `by`, and normalised again. */
export function drifted({ n, dim, values }: Points, stream: number, by: number): Points {
  const noiseStream = new Stream(stream)
  const scale = by / Math.sqrt(dim)
  const moved = values.map((value, i) => value + scale * noiseStream.gauss(i))
  for (let i = 0; i < n; i += 1) normalizeRow(moved, i, dim)
  return { n, dim, values: moved }
}

/** A mixture in which every other cluster has dissolved: its points are of new ones. */
export function dissolved(points: Points, stream: number): Points {
  const { n, dim } = points
  const others = mixture(n, dim, stream, newCentres)
  const assignment = new Stream(stream)
  const values = points.values.slice()
  for (let i = 0; i < n; i += 1) {
    if ((assignment.uint32(i) % centres) % 2 === 1) continue
    values.set(others.values.subarray(i * dim, (i + 1) * dim), i * dim)
  }
  return { n, dim, values }
}

/** A two-dimensional array of little-endian f32 in NumPy's format, version 1 to 3, C order. */
export function readNpy(file: string): Points {
  const bytes = readFileSync(file)
  const invalid = (reason: string): ServiceError =>
    new ServiceError('CONFIG_INVALID', { source: file, path: 'npy', reason })
  if (bytes.subarray(1, 6).toString('latin1') !== 'NUMPY') throw invalid('not a .npy file')
  const isLong = bytes[6] >= 2
  const begin = isLong ? 12 : 10
  const length = isLong ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8)
  const header = bytes.subarray(begin, begin + length).toString('latin1')
  const shape = /'shape': \((\d+), (\d+)\)/.exec(header)
  const isExpected = header.includes("'<f4'") && header.includes("'fortran_order': False")
  if (shape === null || !isExpected) throw invalid(`rows of f32 expected, not ${header.trim()}`)
  const [n, dim] = [Number(shape[1]), Number(shape[2])]
  const values = new Float32Array(n * dim)
  new Uint8Array(values.buffer).set(bytes.subarray(begin + length, begin + length + 4 * n * dim))
  return { n, dim, values }
}

/** In the same format. */
export function writeNpy(file: string, { n, dim, values }: Points): void {
  const header = npyHeader({ type: '<f4', shape: [n, dim] })
  const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  writeFileSync(file, Buffer.concat([header, data]))
}
