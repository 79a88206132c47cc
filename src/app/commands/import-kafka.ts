/** `freshet import kafka`: past events from a topic into a data directory. */
import type { Command } from 'commander'

import { present } from '../../base/assert.ts'
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
import { importKafka } from '../recordings/import-kafka.ts'
import { stopSignal } from '../stop-signal.ts'

type Flags = ConfigFlags & { readonly json?: true }

/** After `import` has been added. */
export function addImportKafka(program: Command, terminal: Terminal): void {
  const parent = program.commands.find((command) => command.name() === 'import')
  const command = present(parent, 'command import')
    .command('kafka <url>')
    .description('events of kafka://host:port/topic?from=OFFSET|TIME into the log')
    .option('-d, --data <directory>', 'data directory of a service that is stopped')
  withJson(withConfig(command)).action(async (url: string, flags: Flags) => {
    const loaded = configOf(flags, 'shop')
    using stop = stopSignal()
    const result = await importKafka({
      config: loaded.config,
      url,
      clock: systemClock,
      signal: stop.signal,
      progress: terminal.progress,
    })
    printReport(terminal, flags.json ? report(result, loaded) : result, flags.json === true)
  })
}
