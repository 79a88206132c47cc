/**
 * Writes the interactions of `freshet bench train`, users and then items as i32, for other
 * trainers: `towers-data.ts DIR`.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { interactions } from '../train-data.ts'

const [, , directory = '.'] = process.argv
/** What a run of any batch up to 4,096 goes round and round. */
const count = 32_768

mkdirSync(directory, { recursive: true })
const { users, items } = interactions(count, 1)
writeFileSync(join(directory, 'interactions.bin'), Int32Array.of(...users, ...items))
