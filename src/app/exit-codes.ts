/** What the process says when it ends; shown by `freshet --help`. */
import { type ErrorCode, ServiceError } from '../base/errors.ts'

export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  data: 3,
  address: 4,
} as const

export const exitCodesHelp = `
Exit codes:
  0  done, or stopped as asked (SIGINT, SIGTERM)
  1  the run failed
  2  the command line or the configuration is wrong
  3  the data directory is in use, unreadable, damaged, full or of another model;
     or a file cannot be read or written
  4  the address cannot be listened on
  130, 143  stopped at once by a second SIGINT or SIGTERM`

/** Codes of errors that are the fault of one of these; every other one is a failed run. */
const byPrefix: readonly (readonly [prefix: string, exitCode: number])[] = [
  ['CONFIG_', exitCodes.usage],
  ['USAGE_', exitCodes.usage],
  ['KEY_', exitCodes.usage],
  ['KEYS_', exitCodes.data],
  ['RECORDING_', exitCodes.usage],
  ['INPUT_', exitCodes.data],
  ['OUTPUT_', exitCodes.data],
  ['DATA_', exitCodes.data],
  ['LOG_', exitCodes.data],
  ['JOURNAL_', exitCodes.data],
  ['VERSIONS_DAMAGED', exitCodes.data],
  ['CHECKPOINT_', exitCodes.data],
  ['TRAINER_ACTIVE', exitCodes.data],
  ['HTTP_', exitCodes.address],
]

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof ServiceError)) return exitCodes.failed
  const code: ErrorCode = error.code
  const found = byPrefix.find(([prefix]) => code.startsWith(prefix))
  return found === undefined ? exitCodes.failed : found[1]
}
