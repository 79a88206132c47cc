/**
 * `freshet start` of a process that answers, whose replica can be looked at: asked `holdings` by
 * message it tells what it has.
 */
import { enableCompileCache } from 'node:module'

enableCompileCache()
const { Command } = await import('commander')
const { configOf, withJson } = await import('../../src/app/command.ts')
const { withService } = await import('../../src/app/commands/start.ts')
const { startFreshet } = await import('../../src/app/compose.ts')
const { createLogger } = await import('../../src/app/telemetry.ts')
const { present } = await import('../../src/base/assert.ts')
const { systemClock } = await import('../../src/base/clock.ts')
const { rowsOf } = await import('./replica-holdings.ts')

const command = withJson(withService(new Command('replica').argument('start'))).parse()
const { config } = configOf(command.opts(), 'shop')
const logger = createLogger(config.process.logging)
const { signal } = new AbortController()
const service = await startFreshet(config, { clock: systemClock, logger, signal })
service.ended.addEventListener('abort', () => process.exit(1))
const { replica } = present(service.serving, 'the serving role')
const look = async (): Promise<void> => {
  const { facts } = replica
  const tables = config.model.tables.map(({ name }) => [name, replica.table(name)] as const)
  process.send?.({
    events: facts.events,
    interactions: facts.interactions,
    items: [...facts.catalogue.items()].map(({ id }) => id),
    rows: Object.fromEntries(await rowsOf(tables)),
  })
}
process.on('message', () => void look())
process.stdout.write(`${JSON.stringify({ address: service.address, processId: process.pid })}\n`)
