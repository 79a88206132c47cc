/** `freshet jobs`: what a running service can run, what it has run, and running one now. */
import type { Command } from 'commander'

import { ServiceError } from '../../base/errors.ts'
import { type JsonObject, printReport, type Terminal, withJson } from '../command.ts'
import { wholeNumber } from '../flags.ts'
import type { RanJob } from '../service-client.ts'
import { stopSignal } from '../stop-signal.ts'
import {
  clientOf,
  runToEnd,
  type ServiceFlags,
  type WaitFlags,
  withService,
  withTimeout,
} from './service-flags.ts'

interface JsonFlag {
  readonly json?: true
}

interface ListFlags extends ServiceFlags, JsonFlag {
  readonly limit: number
}

interface RunFlags extends WaitFlags, JsonFlag {
  readonly once?: string
  readonly wait: boolean
}

export function addJobs(program: Command, terminal: Terminal): void {
  const jobs = program.command('jobs').description('jobs of a running service')
  withJson(withService(jobs.command('list')))
    .description('what can be run, and the newest runs with their progress')
    .option('--limit <runs>', 'at most so many', wholeNumber(1, 1_000), 20)
    .action((flags: ListFlags) => list(flags, terminal))
  withJson(withService(jobs.command('show <run>')))
    .description('one run, with its payload and result')
    .action((run: string, flags: ServiceFlags & JsonFlag) => show(run, flags, terminal))
  withJson(withTimeout(withService(jobs.command('run <name> [payload...]'))))
    .description('run a job now; its payload as name=value')
    .option('--once <key>', 'asked again with the same key, there is the run that was')
    .option('--no-wait', 'do not wait for its end')
    .action((name: string, payload: readonly string[], flags: RunFlags) =>
      runNow({ name, payload, flags }, terminal),
    )
}

async function list(flags: ListFlags, terminal: Terminal): Promise<void> {
  using stop = stopSignal()
  const { names, runs } = await clientOf(flags, stop.signal).jobs(flags.limit)
  if (flags.json) printReport(terminal, { names, runs: runs.map(plain) }, true)
  else {
    terminal.print(`jobs: ${names.join(', ')}`)
    for (const run of runs) terminal.print(lineOf(run))
  }
}

async function show(id: string, flags: ServiceFlags & JsonFlag, terminal: Terminal): Promise<void> {
  using stop = stopSignal()
  const run = await clientOf(flags, stop.signal).job(id)
  printReport(terminal, plain(run), flags.json === true)
}

interface RunNow {
  readonly name: string
  readonly payload: readonly string[]
  readonly flags: RunFlags
}

async function runNow({ name, payload, flags }: RunNow, terminal: Terminal): Promise<void> {
  using stop = stopSignal()
  const client = clientOf(flags, stop.signal)
  const request = {
    name,
    payload: Object.fromEntries(payload.map(fieldOf)),
    ...(flags.once !== undefined && { key: flags.once }),
    wait: flags.wait,
  }
  const run = flags.wait
    ? await runToEnd(client, request, {
        timeout: flags.timeout,
        onProgress: (underWay) => terminal.progress(lineOf(underWay)),
      })
    : await client.startJob(request)
  printReport(terminal, plain(run), flags.json === true)
  if (run.state !== 'failed') return
  throw new ServiceError('JOB_FAILED', { name, run: run.id, reason: run.error ?? '' })
}

/** Numbers and truth values as such, everything else as text. */
function fieldOf(text: string): [string, string | number | boolean] {
  const at = text.indexOf('=')
  if (at < 1) {
    throw new ServiceError('USAGE_INVALID', { what: text, reason: 'expected name=value' })
  }
  const value = text.slice(at + 1)
  if (value === 'true' || value === 'false') return [text.slice(0, at), value === 'true']
  const isNumber = value.trim() !== '' && Number.isFinite(Number(value))
  return [text.slice(0, at), isNumber ? Number(value) : value]
}

// It was made from JSON.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const plain = (run: RanJob): JsonObject => ({ ...run }) as JsonObject

/** `2026-11-22T10:00:00.000Z  restrict      done     100 %    120 ms  restrict-…` */
function lineOf({ id, name, state, progress, startedAt, finishedAt, error }: RanJob): string {
  const took = finishedAt === undefined ? '' : `${Math.round(finishedAt - startedAt)} ms`
  const done = `${Math.floor(100 * progress)} %`
  const begin = new Date(startedAt).toISOString()
  const parts = [begin, name.padEnd(12), state.padEnd(7), done.padStart(5), took.padStart(9), id]
  return [...parts, ...(error === undefined ? [] : [error])].join('  ')
}
