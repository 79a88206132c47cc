/** What a replica has, for comparing it with the trainer and with the log. */
import * as z from 'zod'

import type { DurableTable } from '../../src/embedding/durable-table.ts'

export const holdings = z.object({
  events: z.int(),
  interactions: z.int(),
  /** Ids of its catalogue. */
  items: z.array(z.string()),
  /** Vectors, base64, by table and key. */
  rows: z.record(z.string(), z.string()),
})
export type Holdings = z.infer<typeof holdings>

/** Every row of some tables: table and key in words, its vector in base64. */
export async function rowsOf(
  tables: Iterable<readonly [string, Pick<DurableTable, 'export'>]>,
): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const [name, table] of tables) {
    for await (const { keys, vectors } of table.export()) {
      const dim = (2 * vectors.length) / keys.length
      for (let i = 0; 2 * i < keys.length; i += 1) {
        const { buffer, byteOffset } = vectors.subarray(i * dim)
        const vector = Buffer.from(buffer, byteOffset, 4 * dim).toString('base64')
        found.set(`${name} ${keys[2 * i]}-${keys[2 * i + 1]}`, vector)
      }
    }
  }
  return found
}
