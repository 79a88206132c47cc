/** `freshet demo`: starts the service and lets a simulated shop happen to it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import { type ConfigFlags, configOf, type Terminal } from '../command.ts'
import { runDemo } from '../demo/run.ts'
import { decimal, wholeNumber } from '../flags.ts'
import { stopSignal } from '../stop-signal.ts'
import { createLogger } from '../telemetry.ts'
import { startUnlessStopped, withService } from './start.ts'

interface DemoFlags extends ConfigFlags {
  readonly seconds?: number
  readonly rate: number
  readonly users: number
  readonly items: number
  readonly seed: number
}

/** How long a demo runs when nobody watches: its output goes to a file or another program. */
const pipedSeconds = 60

export function addDemo(program: Command, terminal: Terminal): void {
  withService(program.command('demo'))
    .description('run the service with a simulated shop, and print what happens')
    .option(
      '-s, --seconds <number>',
      `how long (default: until Ctrl-C on a terminal, else ${pipedSeconds})`,
      decimal(1),
    )
    .option('-r, --rate <number>', 'events per second', decimal(1, 20_000), 400)
    .option('--users <number>', 'users at the start', wholeNumber(1, 1_000_000), 1_000)
    .option('--items <number>', 'items at the start', wholeNumber(1, 100_000), 3_000)
    .option('--seed <number>', 'of the simulation', wholeNumber(0), 1)
    .action(async (flags: DemoFlags) => {
      const directory = flags.data ?? mkdtempSync(join(tmpdir(), 'freshet-demo-'))
      try {
        await demo({ ...flags, data: directory }, terminal)
      } finally {
        if (flags.data === undefined) rmSync(directory, { recursive: true, force: true })
      }
    })
}

async function demo(flags: DemoFlags, terminal: Terminal): Promise<void> {
  // A small catalogue is ranked cheaply: the figures move sooner.
  const set = ['model.evaluation.everyNth=4', ...(flags.set ?? [])]
  const { config } = configOf({ ...flags, set }, 'shop')
  // The demo speaks on stdout; only what went wrong belongs beside it.
  const logger = createLogger({ ...config.process.logging, level: 'warn' })
  using stop = stopSignal()
  const options = { clock: systemClock, logger, signal: stop.signal }
  const service = await startUnlessStopped(config, options)
  if (service === undefined) return
  for (const line of greeting(service.address, flags)) terminal.print(line)
  try {
    await runDemo(
      {
        ...flags,
        address: service.address,
        seconds: flags.seconds ?? (terminal.interactive ? Infinity : pipedSeconds),
        clock: systemClock,
        terminal,
      },
      AbortSignal.any([stop.signal, service.ended]),
    )
  } finally {
    terminal.print('')
    terminal.print('stopping: the last batch is learned, a checkpoint written')
    await service.stop()
  }
}

const greeting = (address: string, { rate, data }: DemoFlags): readonly string[] => [
  '',
  `freshet runs at ${address} (Ctrl-C stops it); its data lies in ${data ?? ''}`,
  `A simulated shop sends ${rate} events per second. Look for yourself:`,
  `  ${address}/dashboard shows it as it happens`,
  `  curl '${address}/v1/recommendations/user-1?n=5'`,
  `  curl '${address}/v1/items/item-1/similar?n=5'`,
  `  curl ${address}/v1/users/user-1`,
  `  curl ${address}/metrics`,
  `  ${address}/openapi.json has every route`,
  '',
]
