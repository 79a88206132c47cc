/**
 * `freshet replay`: recorded interactions through the trainer, test-then-train, as fast as it
 * goes.
 */
import { writeFileSync } from 'node:fs'

import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
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
import type { Config } from '../config/config-schema.ts'
import { decimal, wholeNumber } from '../flags.ts'
import {
  type RecordingFlags,
  recordingOptions,
  withRecording,
} from '../recordings/recording-flags.ts'
import { replayPage } from '../recordings/replay-page.ts'
import { replay } from '../recordings/replay.ts'
import { stopSignal } from '../stop-signal.ts'

interface ReplayFlags extends ConfigFlags, RecordingFlags {
  readonly json?: true
  readonly limit?: number
  readonly deltaInterval?: number
  readonly report?: string
  /** False with --no-restrict. */
  readonly restrict: boolean
}

export function addReplay(program: Command, terminal: Terminal): void {
  const command = program
    .command('replay <files...>')
    .description(
      'train on recorded interactions in order, evaluating before each batch; a file, or ' +
        'kafka://host:port/topic?from=OFFSET|TIME',
    )
    .option('--limit <number>', 'events in all', wholeNumber(1))
    .option('-d, --data <directory>', 'keep checkpoints here, and go on from the newest')
    .option(
      '-t, --threads <number>',
      'threads; the result does not depend on it',
      wholeNumber(1, 64),
    )
    .option('--report <file>', 'an HTML page of the result, with plots by hour; works offline')
    .option(
      '--delta-interval <seconds>',
      'evaluate as a reader whose parameters come in deltas so far apart in stream time',
      decimal(0),
    )
    .option('--no-restrict', 'tables four times as large that never evict, for comparison')
  withRecording(withJson(withConfig(command))).action(
    async (files: string[], flags: ReplayFlags) => {
      const loaded = configOf(flags, 'news')
      using stop = stopSignal()
      const result = await replay({
        config: flags.restrict ? loaded.config : withoutRestrict(loaded.config),
        files,
        ...recordingOptions(flags),
        ...(flags.limit !== undefined && { limit: flags.limit }),
        ...(flags.data !== undefined && { dataDirectory: flags.data }),
        ...(flags.deltaInterval !== undefined && { deltaIntervalMs: 1000 * flags.deltaInterval }),
        clock: systemClock,
        signal: stop.signal,
        progress: terminal.progress,
      })
      const found = report(result, loaded)
      if (flags.report !== undefined) writeReport(flags.report, found)
      const { hours: _, ...total } = found
      printReport(terminal, flags.json === true ? found : total, flags.json === true)
    },
  )
}

function writeReport(file: string, found: JsonObject): void {
  try {
    writeFileSync(file, replayPage(found))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ServiceError('USAGE_INVALID', { what: `--report ${file}`, reason }, { cause: error })
  }
}

/** What eviction costs is seen against tables that hold everything. */
function withoutRestrict({ model, process }: Config): Config {
  const tables = model.tables.map((given) => {
    const { restrict: _, ...table } = given
    return Object.assign(table, { capacityRows: 4 * given.capacityRows })
  })
  return { model: { ...model, tables }, process }
}
