/** Flags of every command that reads recorded interactions, and what they mean to the reader. */
import type { Command } from 'commander'

import type { Separator } from '../../stream/recorded/delimited-rows.ts'
import type { RecordedLogOptions } from '../../stream/recorded/recorded-log.ts'
import { oneOf } from '../flags.ts'

export interface RecordingFlags {
  readonly columns?: string
  readonly separator?: Separator
  readonly format?: 'rows' | 'sequences'
  readonly rejects?: string
}

const separator = oneOf<Separator>(',', ';', '\t', '|', '::', ' ')
const format = oneOf('rows', 'sequences')

export const withRecording = (command: Command): Command =>
  command
    .option(
      '--columns <mapping>',
      'which column is what: user=NAME,item=NAME,time=NAME:ms,type=NAME,context=NAME,NAME; names ' +
        'of a header, or numbers from 1 (default: guessed)',
    )
    .option('--separator <text>', 'of columns (default: guessed)', separator)
    .option('--format <name>', 'rows, or sequences: a user and its items per line', format)
    .option('--rejects <file>', 'where rows in error go')

export const recordingOptions = (flags: RecordingFlags): Omit<RecordedLogOptions, 'files'> => ({
  ...(flags.columns !== undefined && { columns: flags.columns }),
  ...(flags.separator !== undefined && { separator: flags.separator }),
  ...(flags.format !== undefined && { format: flags.format }),
  ...(flags.rejects !== undefined && { rejectsFile: flags.rejects }),
})
