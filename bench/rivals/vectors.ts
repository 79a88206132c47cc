/** Writes the points and queries of `freshet bench index` as NumPy arrays: `vectors.ts DIR [count] [dim]`. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { mixture, writeNpy } from '../index-data.ts'

const [, , directory = '.', count = '1000000', dim = '32'] = process.argv
const queries = 1_000

mkdirSync(directory, { recursive: true })
writeNpy(join(directory, 'base.npy'), mixture(Number(count), Number(dim), 2))
writeNpy(join(directory, 'queries.npy'), mixture(queries, Number(dim), 4))
