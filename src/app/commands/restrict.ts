/** `freshet restrict`: makes rows of a running service's tables leave, or asks which would. */
import type { Command } from 'commander'
import * as z from 'zod'

import { ServiceError } from '../../base/errors.ts'
import { type JsonObject, printReport, type Terminal, withJson } from '../command.ts'
import { oneOf, wholeNumber } from '../flags.ts'
import { stopSignal } from '../stop-signal.ts'
import { clientOf, runToEnd, type WaitFlags, withService, withTimeout } from './service-flags.ts'

interface RestrictFlags extends WaitFlags {
  readonly table?: string
  readonly numReserved?: number
  readonly trigger?: number
  readonly policy?: string
  readonly dryRun?: true
  readonly json?: true
}

const rows = wholeNumber(0)

const bucketed = z.array(z.looseObject({ rows: z.int() }))

const result = z.object({
  dryRun: z.boolean(),
  removed: z.int(),
  rows: z.int(),
  tables: z.array(
    z.object({
      table: z.string(),
      before: z.int(),
      removed: z.int(),
      rows: z.int(),
      byCount: bucketed.exactOptional(),
      byAge: bucketed.exactOptional(),
      sample: z
        .array(z.object({ key: z.string(), count: z.number(), lastSeen: z.number() }))
        .exactOptional(),
    }),
  ),
})
type Result = z.infer<typeof result>

export function addRestrict(program: Command, terminal: Terminal): void {
  withJson(withTimeout(withService(program.command('restrict'))))
    .description('evict the rows of lowest score from tables of a running service')
    .option('--table <name>', 'one table (default: all that have a policy)')
    .option('--num-reserved <rows>', 'rows that stay (default: as configured)', rows)
    .option('--trigger <rows>', 'nothing happens up to so many (default: num-reserved)', rows)
    .option(
      '--policy <policy>',
      'frequency, timestamp or combined (default: as configured)',
      oneOf('frequency', 'timestamp', 'combined'),
    )
    .option('--dry-run', 'say what would leave, change nothing')
    .action(async (flags: RestrictFlags) => {
      const done = await restrict(flags)
      if (flags.json) printReport(terminal, jsonOf(done), true)
      else for (const line of readable(done)) terminal.print(line)
    })
}

async function restrict(flags: RestrictFlags): Promise<Result> {
  const { table, numReserved, trigger, policy, dryRun, timeout } = flags
  using stop = stopSignal()
  const fields = { table, numReserved, trigger, policy, dryRun }
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  const request = { name: 'restrict', payload: Object.fromEntries(given) }
  const run = await runToEnd(clientOf(flags, stop.signal), request, { timeout })
  if (run.state === 'done') return result.parse(run.result)
  throw new ServiceError('JOB_FAILED', { name: 'restrict', run: run.id, reason: run.error ?? '' })
}

// It was made from JSON.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const jsonOf = (value: Result): JsonObject => value as JsonObject

const number = (value: number): string => value.toLocaleString('en')

function* readable({ dryRun, tables }: Result): Generator<string> {
  const [left, stay] = dryRun ? ['would leave', 'would stay'] : ['left', 'stay']
  if (tables.length === 0) yield 'no table has a policy of its own: name one with --table'
  for (const { table, before, removed, rows: after, ...report } of tables) {
    yield `${table}: ${number(before)} rows, ${number(removed)} ${left}, ${number(after)} ${stay}`
    if (removed > 0) yield* histogram(report)
  }
}

function* histogram({ byCount = [], byAge = [], sample = [] }: Partial<Result['tables'][number]>) {
  for (const { from, rows: n } of byCount) {
    yield `  seen ${String(from).padStart(9)} times or more  ${number(n).padStart(12)}`
  }
  for (const { upToMs, rows: n } of byAge) {
    if (n === 0) continue
    const age = typeof upToMs === 'number' ? `up to ${span(upToMs)} ago` : 'longer ago'
    yield `  last seen ${age.padEnd(18)}  ${number(n).padStart(12)}`
  }
  for (const { key, count, lastSeen } of sample.slice(0, 5)) {
    const times = count.toFixed(count % 1 === 0 ? 0 : 2)
    yield `  for example ${key}: seen ${times} times, last ${new Date(lastSeen).toISOString()}`
  }
}

const [hourMs, dayMs] = [3_600_000, 86_400_000]

const span = (ms: number): string => {
  if (ms >= dayMs) return `${ms / dayMs} d`
  return ms >= hourMs ? `${ms / hourMs} h` : `${ms / 60_000} min`
}
