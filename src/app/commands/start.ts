/** `freshet start`: the whole service in one process, until it is told to stop. */
import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import {
  type ConfigFlags,
  configOf,
  printReport,
  report,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import { type ComposeOptions, type RunningService, startFreshet } from '../compose.ts'
import type { Config } from '../config/config-schema.ts'
import { wholeNumber } from '../flags.ts'
import { aborted, stopSignal } from '../stop-signal.ts'
import { createLogger } from '../telemetry.ts'

interface StartFlags extends ConfigFlags {
  readonly json?: true
}

/** Flags of every command that starts the service. */
export const withService = (command: Command): Command =>
  withConfig(command)
    .option('-d, --data <directory>', 'data directory: log, journal, checkpoints')
    .option('-p, --port <number>', 'port to listen on; 0: any free one', wholeNumber(0, 65_535))
    .option('--host <address>', 'address to listen on; any but loopback needs API keys')
    .option('--role <roles...>', 'ingest, trainer, serving, jobs; default: all of them')
    .option('-t, --threads <number>', 'threads of the trainer', wholeNumber(1, 64))

export function addStart(program: Command, terminal: Terminal): void {
  withJson(withService(program.command('start')))
    .description('run the service: take events, learn, recommend')
    .option('--only <version>', 'of many processes: a trainer of this version of the model alone')
    .action(async (flags: StartFlags) => {
      const loaded = configOf(flags, 'shop')
      const logger = createLogger(loaded.config.process.logging)
      using stop = stopSignal()
      const options = { clock: systemClock, logger, signal: stop.signal }
      const service = await startUnlessStopped(loaded.config, options)
      if (service === undefined) return
      const { address } = service
      terminal.print(
        flags.json
          ? JSON.stringify({ address, processId: process.pid })
          : `freshet listens at ${address}${elsewhere(loaded.config)}`,
      )
      await aborted(AbortSignal.any([stop.signal, service.ended]))
      const result = await service.stop()
      service.ended.throwIfAborted()
      if (flags.json) printReport(terminal, report(result, loaded), true)
    })
}

/** An address alone would be a half of the truth where it listens at all of them. */
const elsewhere = ({ process: { http } }: Config): string =>
  /^(0\.0\.0\.0|\[?::\]?)$/.test(http.host) ? ' and every other address of this machine' : ''

/** Undefined when it was told to stop before it had started. */
export async function startUnlessStopped(
  config: Config,
  options: ComposeOptions,
): Promise<RunningService | undefined> {
  try {
    return await startFreshet(config, options)
  } catch (error) {
    if (options.signal.aborted) return undefined
    throw error
  }
}
