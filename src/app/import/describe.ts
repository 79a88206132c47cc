/** What a file was understood to be, for a person and for a machine. */
import type { JsonObject } from '../command.ts'
import { plainNumbers, type Understood } from './import-file.ts'
import { shownField } from './mapping.ts'
import type { PlannedUse } from './plan.ts'

const count = (number: number): string => number.toLocaleString('en-US')
const date = (time: number): string => new Date(time).toISOString().slice(0, 19).replace('T', ' ')
const json = (value: unknown): string => JSON.stringify(value, plainNumbers)

export function* describe(understood: Understood): Generator<string> {
  const { options, source, plan, survey } = understood
  const { file, kind } = options
  yield `${file}: ${source.format}; ${count(survey.rows)} rows as ${kind}`
  if (plan.uses.length === 0) yield '  each is in the words of the API, and taken as it is'
  for (const use of plan.uses) {
    const from = source.hasNames ? use.column : `column ${use.column}`
    yield `  ${shownField(kind, use).padEnd(24)} ${from.padEnd(24)} ${readAs(use)}`
  }
  const hasType = plan.uses.length === 0 || plan.uses.some(({ field }) => field === 'type')
  if (kind === 'events' && !hasType) yield `  ${'type'.padEnd(24)} "${options.type}" (--type)`
  const unused = source.columns.filter((column) => !plan.columns.includes(column))
  if (plan.uses.length > 0 && unused.length > 0) yield `  not used: ${unused.join(', ')}`
  yield* describeTimes(understood)
  for (const event of survey.firstEvents) yield `  ${json(event)}`
  yield `${count(survey.good)} rows are good, ${count(survey.rows - survey.good)} are not`
  for (const [reason, rows] of survey.refused) yield `  ${count(rows)} rows: ${reason}`
  for (const { line, path, reason, cells } of survey.firstRefused) {
    yield `  line ${line}: ${path}: ${reason}: ${json(cells).slice(0, 200)}`
  }
}

function* describeTimes({
  survey: { times, timeless, latenessMs, good },
  options: { kind, retentionMs, clock },
  isSorted,
}: Understood): Generator<string> {
  if (times !== undefined && times.last > 0) {
    yield `  times from ${date(times.first)} to ${date(times.last)} UTC`
  }
  if (isSorted) yield '  rows are not in the order of time: they are sorted before they are sent'
  else if (latenessMs > 0) yield `  rows are up to ${count(latenessMs / 1_000)} s out of order`
  if (times !== undefined && clock.now() - times.first > retentionMs) {
    const days = Math.round(retentionMs / 86_400_000)
    yield `  users without an event for ${days} days are forgotten, unless the service was started`
    yield '  with a longer model.facts.userRetentionMs'
  }
  if (kind === 'events' && timeless > 0) {
    const which = timeless === good ? 'no row has' : `${count(timeless)} rows have not`
    yield `  ${which} a time: they count as happening when they are taken`
  }
}

const units: Partial<Record<PlannedUse['type'], string>> = {
  s: 'seconds since 1970',
  ms: 'milliseconds since 1970',
  us: 'microseconds since 1970',
  ns: 'nanoseconds since 1970',
  auto: 'a time',
  rfc3339: 'a time as text',
  list: 'a list',
  boolean: 'true or false',
}

const readAs = ({ type }: PlannedUse): string => units[type] ?? type

export function reportOf({ options, source, plan, survey, id, isSorted }: Understood): JsonObject {
  const { rows, good, refused, firstRefused, firstEvents, times, timeless } = survey
  return {
    file: options.file,
    format: source.format,
    kind: options.kind,
    import: id,
    fields: plan.uses.map((use) => ({
      field: shownField(options.kind, use),
      column: use.column,
      type: use.type,
    })),
    rows,
    good,
    rejected: rows - good,
    reasons: Object.fromEntries(refused),
    firstRejected: firstRefused.map(({ line, path, reason }) => ({ line, path, reason })),
    // What was read from JSON, or is as plain as that.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    firstEvents: JSON.parse(json(firstEvents)) as JsonObject[],
    ...(times && { from: times.first, to: times.last }),
    timeless,
    sorted: isSorted,
  }
}
