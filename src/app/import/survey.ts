/** A first pass over a file, before anything is sent: what is in it, and what is wrong with it. */
import type { Made, ImportPlan, Rejected } from './plan.ts'
import type { ImportSource } from './source.ts'

export interface Survey {
  readonly rows: number
  readonly good: number
  /** How many rows are refused, by column and reason. */
  readonly refused: ReadonlyMap<string, number>
  readonly firstRefused: readonly Rejected[]
  readonly firstEvents: readonly object[]
  /** Of rows that have one, epoch ms; absent: none has. */
  readonly times: { readonly first: number; readonly last: number } | undefined
  /** Good rows without a time: they count as happening when they are taken. */
  readonly timeless: number
  /** How far a row is behind the newest before it, at most, in milliseconds. */
  readonly latenessMs: number
}

export interface SurveyOptions {
  readonly now: number
  readonly onRows: (rows: number) => void
  /** Every row that is refused. */
  readonly onRefused: (refused: Rejected) => void
}

const shownRows = 3
const shownRefusals = 10
/** Reasons told apart; the rest are counted together. */
const keptReasons = 100

/** Throws what reading the file throws. */
export async function surveyOf(
  source: ImportSource,
  plan: ImportPlan,
  { now, onRows, onRefused }: SurveyOptions,
): Promise<Survey> {
  const refused = new Map<string, number>()
  const firstRefused: Rejected[] = []
  const firstEvents: object[] = []
  let [rows, good, timeless, latenessMs] = [0, 0, 0, 0]
  let [first, last] = [Infinity, -Infinity]
  const takeRefused = (reject: Rejected): void => {
    const reason = `${reject.path}: ${reject.reason}`
    const key = refused.has(reason) || refused.size < keptReasons ? reason : 'other reasons'
    refused.set(key, (refused.get(key) ?? 0) + 1)
    if (firstRefused.length < shownRefusals) firstRefused.push(reject)
    onRefused(reject)
  }
  const take = ({ wire }: Made): void => {
    good += 1
    if (firstEvents.length < shownRows) firstEvents.push(wire)
    const time = timeOf(wire)
    if (time === undefined) {
      timeless += 1
      return
    }
    latenessMs = Math.max(latenessMs, last - time)
    first = Math.min(first, time)
    last = Math.max(last, time)
  }
  for await (const piece of source.rows(plan.columns)) {
    for (const row of piece) {
      const made = plan.make(row, rows, now)
      rows += 1
      if ('wire' in made) take(made)
      else takeRefused(made)
    }
    onRows(rows)
  }
  const times = last === -Infinity ? undefined : { first, last }
  return { rows, good, refused, firstRefused, firstEvents, times, timeless, latenessMs }
}

/** As the file says it; undefined: it does not. */
export function timeOf(wire: object): number | undefined {
  const time = 'timestamp' in wire ? wire.timestamp : undefined
  if (typeof time === 'number') return time
  return typeof time === 'string' ? Date.parse(time) : undefined
}
