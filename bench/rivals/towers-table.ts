/**
 * What `towers.sh` measured as a table, on the standard output: `towers-table.ts DIR`. Medians over
 * the rounds, and how many times as fast freshet is.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stdout } from 'node:process'

import * as z from 'zod'

const result = z.object({
  engine: z.string(),
  examplesPerSecond: z.number(),
  peakRssBytes: z.number(),
  batch: z.number().optional(),
  config: z.object({ batch: z.number() }).optional(),
})
type Result = z.infer<typeof result>

const [, , folder = '.'] = process.argv
const lines = readFileSync(join(folder, 'towers.jsonl'), 'utf8').trim().split('\n')
const results = lines.map((line): Result => result.parse(JSON.parse(line)))

const batchOf = ({ batch, config }: Result): number => batch ?? config?.batch ?? NaN
const engines = { freshet: 'wasm', fixed: 'tensorflow static', dynamic: 'tensorflow dynamic' }

function median(engine: string, batch: number, of: (one: Result) => number): number {
  const found = results.filter((one) => one.engine === engine && batchOf(one) === batch).map(of)
  return found.toSorted((a, b) => a - b)[found.length >> 1] ?? NaN
}

const thousands = (rate: number): string => `${Math.round(rate / 1000)} k`
const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`

const titles = ['freshet', 'static', 'times', 'dynamic', 'times', 'memory: freshet, static']
const rows = [...new Set(results.map(batchOf))].map((batch) => {
  const rate = (engine: string): number => median(engine, batch, (one) => one.examplesPerSecond)
  const memory = (engine: string): string =>
    mebibytes(median(engine, batch, (one) => one.peakRssBytes))
  const { freshet, fixed, dynamic } = engines
  const times = (engine: string): string => (rate(freshet) / rate(engine)).toFixed(2)
  return [
    batch,
    thousands(rate(freshet)),
    thousands(rate(fixed)),
    times(fixed),
    thousands(rate(dynamic)),
    times(dynamic),
    `${memory(freshet)}, ${memory(fixed)}`,
  ]
})
const table = [['batch', ...titles], ['---', ...titles.map(() => '---')], ...rows]
stdout.write(table.map((cells) => `| ${cells.join(' | ')} |\n`).join(''))
