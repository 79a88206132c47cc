/** Writes the points and queries of `freshet bench index` as NumPy arrays: `vectors.ts DIR [count] [dim]`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { mixture, type Points } from '../index-data.ts'

const [, , directory = '.', count = '1000000', dim = '32'] = process.argv
const queries = 1_000

/** NumPy's format, version 1: the header fills whole blocks of 64 bytes. */
function npy({ n, dim: width, values }: Points): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${n}, ${width}), }`
  const length = Math.ceil((10 + text.length + 1) / 64) * 64
  const header = Buffer.alloc(length, ' ')
  header.write('\u0093NUMPY\u0001\u0000', 'latin1')
  header.writeUInt16LE(length - 10, 8)
  header.write(text, 10)
  header.write('\n', length - 1)
  return Buffer.concat([header, new Uint8Array(values.buffer)])
}

mkdirSync(directory, { recursive: true })
writeFileSync(join(directory, 'base.npy'), npy(mixture(Number(count), Number(dim), 2)))
writeFileSync(join(directory, 'queries.npy'), npy(mixture(queries, Number(dim), 4)))
