/** `freshet rollback`: the parameters of a running service back to those of a checkpoint. */
import type { Command } from 'commander'

import { ServiceError } from '../../base/errors.ts'
import { type JsonObject, printReport, type Terminal, withJson } from '../command.ts'
import { wholeNumber } from '../flags.ts'
import { stopSignal } from '../stop-signal.ts'
import { clientOf, runToEnd, type WaitFlags, withService, withTimeout } from './service-flags.ts'

interface Flags extends WaitFlags {
  readonly json?: true
}

export function addRollback(program: Command, terminal: Terminal): void {
  withJson(withTimeout(withService(program.command('rollback'))))
    .argument('<checkpoint>', 'its number: `inspect checkpoint`', wholeNumber(0))
    .description(
      'rows and weights of a running service back to a checkpoint; events and facts stay',
    )
    .action((to: number, flags: Flags) => rollback(to, flags, terminal))
}

async function rollback(to: number, flags: Flags, terminal: Terminal): Promise<void> {
  using stop = stopSignal()
  const name = 'rollBack'
  const client = clientOf(flags, stop.signal)
  const run = await runToEnd(client, { name, payload: { to } }, { timeout: flags.timeout })
  if (run.state === 'failed') {
    throw new ServiceError('JOB_FAILED', { name, run: run.id, reason: run.error ?? '' })
  }
  // It was made from JSON.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  printReport(terminal, { ...run } as JsonObject, flags.json === true)
}
