/** `freshet rows`: whose rows lie in Redis, and removing those of models no longer used. */
import type { Command } from 'commander'

import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { RedisTags, type StoredTag } from '../../embedding/redis/redis-tags.ts'
import {
  type ConfigFlags,
  configOf,
  printReport,
  type Terminal,
  withConfig,
  withJson,
} from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { farRowsOptions } from '../config/far-rows-options.ts'
import { decimal } from '../flags.ts'

interface RowsFlags extends ConfigFlags {
  readonly json?: true
}

interface ExpireFlags extends RowsFlags {
  readonly unusedDays: number
  readonly dryRun?: true
}

const dayMs = 86_400_000

export function addRows(program: Command, terminal: Terminal): void {
  const rows = program.command('rows').description('rows of tables that lie in Redis')
  withJson(withConfig(rows.command('list')))
    .description('under which tags, how many, and when they were last used')
    .action(async (flags: RowsFlags) => {
      const tags = await eachTable(configOf(flags, 'shop').config, (stored) => stored.list())
      show(terminal, { tags, done: '', json: flags.json === true })
    })
  withJson(withConfig(rows.command('expire')))
    .description('remove the rows of other tags that nobody has used for long')
    .requiredOption('--unused-days <days>', 'that they must have rested', decimal(0))
    .option('--dry-run', 'say what would be removed, change nothing')
    .action(async (flags: ExpireFlags) => {
      const { config } = configOf(flags, 'shop')
      const own = optionsOf(config).redis.tag
      const before = systemClock.now() - flags.unusedDays * dayMs
      const tags = await eachTable(config, async (stored) => {
        const old = (await stored.list()).filter(({ tag, used }) => tag !== own && used < before)
        if (flags.dryRun !== true) for (const tag of old) await stored.remove(tag)
        return old
      })
      const done = flags.dryRun === true ? ', would be removed' : ', removed'
      show(terminal, { tags, done, json: flags.json === true })
    })
}

/** Throws `USAGE_INVALID` where all rows are in memory. */
function optionsOf(config: Config): NonNullable<ReturnType<typeof farRowsOptions>> {
  const options = farRowsOptions(config, true)
  if (options !== undefined) return options
  const reason = 'process.tables keeps all rows in memory'
  throw new ServiceError('USAGE_INVALID', { what: 'freshet rows', reason })
}

async function eachTable(
  config: Config,
  visit: (stored: RedisTags) => Promise<readonly StoredTag[]>,
): Promise<readonly StoredTag[]> {
  const { memoryRows, redis } = optionsOf(config)
  const found: StoredTag[] = []
  for (const table of Object.keys(memoryRows)) {
    await using stored = await RedisTags.open(table, redis.connection, redis.limits)
    found.push(...(await visit(stored)))
  }
  return found
}

interface Shown {
  readonly tags: readonly StoredTag[]
  readonly done: string
  readonly json: boolean
}

function show(terminal: Terminal, { tags, done, json }: Shown): void {
  if (json) {
    const stored = tags.map(({ table, tag, rows, slices, used }) => ({
      table,
      tag,
      rows,
      slices,
      lastUsed: new Date(used).toISOString(),
    }))
    printReport(terminal, { tags: stored }, true)
    return
  }
  if (tags.length === 0) terminal.print('none')
  for (const { table, tag, rows, used } of tags) {
    const lastUsed = new Date(used).toISOString()
    terminal.print(`${table} ${tag}: ${rows} rows, last used ${lastUsed}${done}`)
  }
}
