/** `freshet import FILE`: events, items or users of a file into a service, or its directory. */
import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import type { Separator } from '../../stream/recorded/delimited-rows.ts'
import {
  type ConfigFlags,
  configOf,
  type JsonObject,
  printReport,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import { environment } from '../config/config.ts'
import { oneOf } from '../flags.ts'
import { describe, reportOf } from '../import/describe.ts'
import { type ImportFileOptions, send, understand } from '../import/import-file.ts'
import { type ImportKind, importKinds } from '../import/mapping.ts'
import {
  type Encoding,
  encodings,
  type SourceFormat,
  sourceFormats,
  type SourceOptions,
} from '../import/source.ts'
import { DirectoryTarget, type ImportTarget, ServiceTarget } from '../import/target.ts'
import { progressBar } from '../progress-bar.ts'
import { stopSignal } from '../stop-signal.ts'

interface ImportFileFlags extends ConfigFlags {
  readonly as: ImportKind
  readonly map?: string
  readonly type: string
  readonly timeFormat?: string
  readonly format?: SourceFormat
  readonly separator?: Separator
  readonly encoding?: Encoding
  readonly header?: boolean
  readonly sort: boolean
  readonly again?: true
  readonly dryRun?: true
  readonly rejects?: string
  readonly address: string
  readonly key?: string
  readonly json?: true
}

const examples = `
Fields of --map (FIELD=COLUMN,... or FIELD=COLUMN:TYPE):
  events  user, item, time, type, weight, event, context.NAME
  items   id, features.NAME, attributes.NAME, time, hidden, expires, crowding
  users   id, features.NAME, time
  COLUMN is a name of the header, a dotted path into JSON, or a number from 1. What follows a
  group without a field of its own belongs to it: context=device,country. context=* is every
  column that is nothing else. TYPE: text, number, list (split at | ; ,), boolean; of times
  s, ms, us, ns, rfc3339.

Examples:
  freshet import clicks.csv --dry-run
  freshet import ratings.dat --map user=1,item=2,weight=3,time=4:s
  freshet import movies.dat --as items --map 'id=1,features.title=2,features.categories=3:list'
  freshet import orders.ndjson --map user=customer.id,item=sku,time=when,context=channel`

/** Beside the commands under `import`. */
export function addImportFile(command: Command, terminal: Terminal): void {
  command.argument('[file]', 'CSV, TSV, NDJSON (each also .gz) or Parquet')
  withSource(withJson(withConfig(command)))
    .option('--dry-run', 'say what the file holds and what is wrong with it; send nothing')
    .option('--rejects <file>', 'where rows in error go, as lines of JSON')
    .option('-a, --address <url>', 'the service', 'http://127.0.0.1:8080')
    .option('--key <key>', 'API key with the scope write (default: FRESHET_API_KEY)')
    .option('-d, --data <directory>', 'into the log of a service that is stopped instead')
    .option('--again', 'although the same file was imported before')
    .addHelpText('after', examples)
    .action(async (file: string | undefined, flags: ImportFileFlags) => {
      if (file === undefined) command.help()
      else await importFile(file, flags, terminal)
    })
}

const withSource = (command: Command): Command =>
  command
    .option('--as <kind>', importKinds.join(', '), oneOf(...importKinds), 'events')
    .option('--map <fields>', 'which column is what (default: by their names); see below')
    .option('--type <name>', 'of events that have no column for it', 'click')
    .option('--time-format <text>', 'of times, as in "DD.MM.YYYY HH:mm:ss" (UTC)')
    .option('--format <name>', `${sourceFormats.join(', ')} (default: guessed)`, format)
    .option('--separator <text>', 'of columns (default: guessed)', separator)
    .option('--encoding <name>', `${encodings.join(', ')} (default: utf8)`, oneOf(...encodings))
    .option('--header', 'the first row has the names of the columns (default: guessed)')
    .option('--no-header', 'it has not')
    .option('--no-sort', 'send rows in the order of the file, not of their times')

const format = oneOf(...sourceFormats)
const separator = oneOf<Separator>(',', ';', '\t', '|', '::', ' ')

async function importFile(file: string, flags: ImportFileFlags, terminal: Terminal): Promise<void> {
  using stop = stopSignal()
  using bar = progressBar(terminal.progress)
  const loaded = configOf(flags, 'shop')
  const { futureSkewMs: maxFutureMs, userRetentionMs: retentionMs } = loaded.config.model.facts
  const given = { maxFutureMs, retentionMs, signal: stop.signal, bar, clock: systemClock }
  const options = optionsOf(file, flags, given)
  const understood = await understand(options)
  bar[Symbol.dispose]()
  if (flags.json !== true) for (const line of describe(understood)) terminal.print(line)
  let result: JsonObject = reportOf(understood)
  if (flags.dryRun !== true) {
    await using target = await targetOf(flags, stop.signal, loaded.config)
    result = { ...result, target: target.name, ...(await send(understood, target)) }
    bar[Symbol.dispose]()
    if (flags.json !== true) terminal.print(outcome(target.name, result))
  }
  if (flags.json === true) printReport(terminal, result, true)
}

const targetOf = async (
  { data, address, key = environment['FRESHET_API_KEY'] }: ImportFileFlags,
  signal: AbortSignal,
  config: Parameters<typeof DirectoryTarget.open>[0],
): Promise<ImportTarget> =>
  data === undefined
    ? new ServiceTarget(address, { signal, ...(key !== undefined && { apiKey: key }) })
    : DirectoryTarget.open(config)

function optionsOf(
  file: string,
  flags: ImportFileFlags,
  given: Pick<ImportFileOptions, 'maxFutureMs' | 'retentionMs' | 'clock' | 'signal' | 'bar'>,
): ImportFileOptions {
  const source: SourceOptions = {
    ...(flags.format !== undefined && { format: flags.format }),
    ...(flags.separator !== undefined && { separator: flags.separator }),
    ...(flags.encoding !== undefined && { encoding: flags.encoding }),
    ...(flags.header !== undefined && { hasHeader: flags.header }),
  }
  return {
    file,
    kind: flags.as,
    type: flags.type,
    source,
    sort: flags.sort,
    again: flags.again === true,
    ...given,
    ...(flags.map !== undefined && { mapping: flags.map }),
    ...(flags.timeFormat !== undefined && { timeFormat: flags.timeFormat }),
    ...(flags.rejects !== undefined && { rejectsFile: flags.rejects }),
  }
}

const number = (value: unknown): string => Number(value).toLocaleString('en-US')

function outcome(target: string, result: JsonObject): string {
  const { sent, before, refused, complete, seconds } = result
  if (sent === 0 && complete === true) {
    return `nothing sent: this file was imported before (--again imports it once more)`
  }
  const resumed = before === 0 ? '' : `, after ${number(before)} that stood already`
  const turned = refused === 0 ? '' : `, of which the service refused ${number(refused)}`
  const stopped = complete === true ? '' : '; stopped: the same command goes on from here'
  const took = `${number(sent)} sent to ${target} in ${Number(seconds).toFixed(1)} s`
  return `${took}${resumed}${turned}${stopped}`
}
