/** `freshet inspect`: looks into a data directory, running or not, without writing to it. */
import type { Command } from 'commander'

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
import type { Config } from '../config/config-schema.ts'
import { wholeNumber } from '../flags.ts'
import {
  inspectCheckpoint,
  inspectItem,
  inspectLog,
  inspectTable,
  inspectUser,
} from '../inspection.ts'

interface InspectFlags extends ConfigFlags {
  readonly json?: true
  readonly from?: number
  readonly limit: number
  readonly item?: string
  readonly user?: string
}

/** A command whose action gets the data directory, its argument and its flags. */
function addLook(
  parent: Command,
  terminal: Terminal,
  {
    name,
    description,
    look,
    isOfLog = false,
  }: {
    name: string
    description: string
    /** It needs no checkpoint. */
    isOfLog?: boolean
    look: (config: Config, flags: InspectFlags, argument: string) => Promise<JsonObject>
  },
): Command {
  const command = withJson(withConfig(parent.command(name)))
    .description(description)
    .option('-d, --data <directory>', 'data directory')
  return command.action(async (...given: unknown[]) => {
    const flags = command.opts<InspectFlags>()
    const [argument] = given
    const loaded = configOf(flags, 'shop')
    const text = typeof argument === 'string' ? argument : ''
    const { progress } = terminal
    const result = await (isOfLog
      ? look(loaded.config, flags, text)
      : withCheckpoints({ config: loaded.config, progress }, (config) => look(config, flags, text)))
    printReport(terminal, flags.json ? report(result, loaded) : result, flags.json === true)
  })
}

export function addInspect(program: Command, terminal: Terminal): void {
  const inspect = program
    .command('inspect')
    .description('look into a data directory: checkpoint, log, table, item, user')
  addLook(inspect, terminal, {
    name: 'checkpoint',
    description: 'what the newest good checkpoint holds, and which are kept',
    look: (config) => inspectCheckpoint(config),
  })
  addLook(inspect, terminal, {
    name: 'log',
    description: 'where the event log starts and ends, and some of its events',
    isOfLog: true,
    look: (config, { from, limit }) => inspectLog(config, { from, limit }),
  })
    .option('--from <offset>', 'first event to show (default: the oldest kept)', wholeNumber(0))
    .option('-n, --limit <number>', 'events to show', wholeNumber(0, 10_000), 10)
  addLook(inspect, terminal, {
    name: 'table <name>',
    description: 'a table, or the rows in it of one item or user',
    look: (config, { item, user }, table) =>
      inspectTable(config, { table, itemId: item, userId: user }),
  })
    .option('--item <id>', 'show the rows of this item')
    .option('--user <id>', 'show the rows of this user')
  addLook(inspect, terminal, {
    name: 'item <id>',
    description: 'what is known of an item',
    look: (config, _, itemId) => inspectItem(config, itemId),
  })
  addLook(inspect, terminal, {
    name: 'user <id>',
    description: 'what is known of a user',
    look: (config, _, userId) => inspectUser(config, userId),
  })
}
