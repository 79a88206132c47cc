/** `freshet export items` and `freshet export events`: what a data directory knows, as files. */
import type { Command } from 'commander'

import {
  type ConfigFlags,
  configOf,
  printReport,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import { exportEvents } from '../exports/event-export.ts'
import { exportItems } from '../exports/item-export.ts'
import { oneOf, wholeNumber } from '../flags.ts'
import { progressBar } from '../progress-bar.ts'
import { type TableFormat, tableFormats } from '../tables/table-files.ts'

interface Flags extends ConfigFlags {
  readonly json?: true
  readonly to: string
}

interface ItemFlags extends Flags {
  readonly format: TableFormat
}

interface EventFlags extends Flags {
  readonly from?: number
}

/** Beside the other commands under `export`. */
export function addExportData(parent: Command, terminal: Terminal): void {
  const items = parent
    .command('items')
    .description('items with the vectors of the newest checkpoint, and what filters match')
    .requiredOption('--to <directory>', 'where the files go')
    .option('--format <name>', tableFormats.join(' or '), oneOf(...tableFormats), 'ndjson')
  withData(items).action(async ({ to: directory, format, ...flags }: ItemFlags) => {
    using bar = progressBar(terminal.progress)
    const { config } = configOf(flags, 'shop')
    const onItems = (done: number, total: number): void => bar.show('items', done, total)
    const result = await exportItems({ config, format, directory, onItems })
    bar[Symbol.dispose]()
    printReport(terminal, result, flags.json === true)
  })
  const events = parent
    .command('events')
    .description('events of the log as NDJSON, as `import` and POST /v1/events take them')
    .requiredOption('--to <file>', 'where they go')
    .option('--from <offset>', 'the first (default: the oldest kept)', wholeNumber(0))
  withData(events).action(async ({ to: file, from, ...flags }: EventFlags) => {
    using bar = progressBar(terminal.progress)
    const { config } = configOf(flags, 'shop')
    const onEvents = (done: number, total: number): void => bar.show('events', done, total)
    const result = await exportEvents({
      config,
      file,
      onEvents,
      ...(from !== undefined && { from }),
    })
    bar[Symbol.dispose]()
    printReport(terminal, result, flags.json === true)
  })
}

const withData = (command: Command): Command =>
  withJson(withConfig(command)).option(
    '-d, --data <directory>',
    'data directory; a service may be running on it',
  )
