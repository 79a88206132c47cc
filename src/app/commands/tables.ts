/** `freshet export tables` and `freshet import tables`: rows to files and back. */
import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import {
  type ConfigFlags,
  configOf,
  type JsonObject,
  printReport,
  report,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import { oneOf } from '../flags.ts'
import { type TableFormat, tableFormats } from '../tables/table-files.ts'
import { exportTables, importTables, type TransferOptions } from '../tables/table-transfer.ts'

interface TransferFlags extends ConfigFlags {
  readonly json?: true
  readonly format: TableFormat
  readonly to: string
  readonly from: string
  readonly replace?: true
}

export function addExport(program: Command, terminal: Terminal): void {
  const parent = program.command('export').description('write what is learned to files')
  const command = parent
    .command('tables [names...]')
    .description('rows of the newest checkpoint, of all tables or of those named')
    .requiredOption('--to <directory>', 'where the files go')
  withTransfer(command).action(async (names: string[], flags: TransferFlags) => {
    await transfer({ terminal, flags, names, directory: flags.to }, exportTables)
  })
}

export function addImport(program: Command, terminal: Terminal): void {
  const parent = program.command('import').description('take what is learned from files')
  const command = parent
    .command('tables [names...]')
    .description('rows into the newest checkpoint of a service that is stopped')
    .requiredOption('--from <directory>', 'where the files are')
    .option('--replace', 'the rows of the files alone remain')
  withTransfer(command).action(async (names: string[], flags: TransferFlags) => {
    await transfer({ terminal, flags, names, directory: flags.from }, (options) =>
      importTables({ ...options, replace: flags.replace === true }),
    )
  })
}

const withTransfer = (command: Command): Command =>
  withJson(withConfig(command))
    .option('-d, --data <directory>', 'data directory')
    .option('--format <name>', tableFormats.join(' or '), oneOf(...tableFormats), 'ndjson')

interface Invocation {
  readonly terminal: Terminal
  readonly flags: TransferFlags
  readonly names: readonly string[]
  readonly directory: string
}

async function transfer(
  { terminal, flags, names, directory }: Invocation,
  run: (options: TransferOptions) => Promise<JsonObject>,
): Promise<void> {
  const loaded = configOf(flags, 'shop')
  const result = await run({
    config: loaded.config,
    clock: systemClock,
    tables: names,
    format: flags.format,
    directory,
    progress: terminal.progress,
  })
  printReport(terminal, flags.json ? report(result, loaded) : result, flags.json === true)
}
