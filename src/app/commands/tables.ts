/** `freshet export tables` and `freshet import tables`: rows out of a checkpoint and into it. */
import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { withCheckpoints } from '../bucket-checkpoints.ts'
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
import { exportTables } from '../tables/table-export.ts'
import { type TableFormat, tableFormats } from '../tables/table-files.ts'
import { type ImportOptions, importTables } from '../tables/table-import.ts'
import { addExportData } from './export-data.ts'
import { addExportTowers } from './export-towers.ts'
import { addImportFile } from './import-file.ts'

interface TransferFlags extends ConfigFlags {
  readonly json?: true
  readonly format: TableFormat
}

interface ExportFlags extends TransferFlags {
  readonly to: string
}

interface ImportFlags extends TransferFlags {
  readonly from?: string
  readonly fromTag?: string
  readonly replace?: true
}

export function addExport(program: Command, terminal: Terminal): void {
  const parent = program
    .command('export')
    .description('write what is learned, items and events to files')
  addExportTowers(parent, terminal)
  addExportData(parent, terminal)
  const command = parent
    .command('tables [names...]')
    .description('rows of the newest checkpoint, of all tables or of those named')
    .requiredOption('--to <directory>', 'where the files go')
  withTransfer(command).action(async (names: string[], flags: ExportFlags) => {
    const { format, to: directory } = flags
    await transfer(terminal, flags, (common) =>
      withCheckpoints(common, (config) =>
        exportTables({ ...common, config, tables: names, format, directory }),
      ),
    )
  })
}

export function addImport(program: Command, terminal: Terminal): void {
  const parent = program
    .command('import')
    .description('take events, items or users of a file, or what was learned elsewhere')
  addImportFile(parent, terminal)
  const command = parent
    .command('tables [names...]')
    .description('rows into the newest checkpoint of a service that is stopped')
    .option('--from <directory>', 'files of `export tables`, or of others')
    .option('--from-tag <tag>', 'rows of another model in Redis (`rows list`) instead')
    .option('--replace', 'the rows of the source alone remain')
  withTransfer(command).action(async (names: string[], flags: ImportFlags) => {
    const source = sourceOf(flags)
    await transfer(terminal, flags, (common) =>
      importTables({ ...common, tables: names, source, replace: flags.replace === true }),
    )
  })
}

/** Throws `USAGE_INVALID`. */
function sourceOf({ from: directory, fromTag: tag, format }: ImportFlags): ImportOptions['source'] {
  if (directory !== undefined && tag === undefined) return { directory, format }
  if (tag !== undefined && directory === undefined) return { tag }
  const reason = 'expected either --from or --from-tag'
  throw new ServiceError('USAGE_INVALID', { what: 'freshet import tables', reason })
}

const withTransfer = (command: Command): Command =>
  withJson(withConfig(command))
    .option('-d, --data <directory>', 'data directory')
    .option('--format <name>', tableFormats.join(' or '), oneOf(...tableFormats), 'ndjson')

async function transfer(
  terminal: Terminal,
  flags: TransferFlags,
  run: (common: Pick<ImportOptions, 'config' | 'clock' | 'progress'>) => Promise<JsonObject>,
): Promise<void> {
  const loaded = configOf(flags, 'shop')
  const { config } = loaded
  const result = await run({ config, clock: systemClock, progress: terminal.progress })
  printReport(terminal, flags.json ? report(result, loaded) : result, flags.json === true)
}
