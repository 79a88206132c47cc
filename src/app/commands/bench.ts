/** `freshet bench`: seeded benchmarks, the figures of BENCHMARKS.md. */
import { existsSync } from 'node:fs'

import type { Command } from 'commander'
import * as z from 'zod'

import { systemClock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { tfjsBackends } from '../../model/tfjs/load-tensorflow.ts'
import { type BenchAlignmentOptions, benchAlignment } from '../bench/alignment.ts'
import type { FarBenchOptions } from '../bench/far-table.ts'
import { benchFreshness } from '../bench/freshness.ts'
import { benchHttp } from '../bench/http.ts'
import { benchRedisTable } from '../bench/redis-table.ts'
import { benchTieredTable } from '../bench/tiered-table.ts'
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
import { redisServer } from '../config/servers-options.ts'
import { decimal, oneOf, redisUrl, someOf, wholeNumber, wholeNumbers } from '../flags.ts'
import { stopSignal } from '../stop-signal.ts'

type Flags = ConfigFlags & { readonly json?: true }

/** A benchmark of one room, in `bench/` of the source. */
type RoomBenchmark = (
  options: Readonly<Record<string, unknown>>,
  progress: (line: string) => void,
) => Promise<JsonObject>

const roomBenchmark = z.object({
  run: z.custom<RoomBenchmark>((value) => typeof value === 'function'),
})

/** What flags are, once parsed. */
const asJson = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.number()), z.array(z.string())]),
)

const farFlags = z.object({
  rows: z.number(),
  dim: z.number(),
  seed: z.number(),
  repeats: z.number(),
  redis: z.string().transform(redisServer).exactOptional(),
})

const ofFarTable =
  (run: (options: FarBenchOptions, progress: (line: string) => void) => Promise<JsonObject>) =>
  (options: unknown, progress: (line: string) => void): Promise<JsonObject> =>
    run(farFlags.parse(options), progress)

/** What `bench index` measures. */
const indexParts = ['curve', 'filters', 'restart', 'upserts', 'drift', 'growth'] as const

/** Of what runs on the servers of a deployment, so that it can be measured there. */
const shipped: Readonly<Record<string, RoomBenchmark>> = {
  'redis-table': ofFarTable(benchRedisTable),
  'tiered-table': ofFarTable(benchTieredTable),
}

/** The others are not shipped with the package, so they are found when they are run. */
async function loadRoomBenchmark(name: string): Promise<RoomBenchmark> {
  const found = shipped[name]
  if (found !== undefined) return found
  const url = new URL(`../../../bench/${name}.ts`, import.meta.url)
  if (!existsSync(url)) {
    const reason = `bench ${name} runs from a checkout of the source, not from an installed package`
    throw new ServiceError('USAGE_INVALID', { what: 'freshet bench', reason })
  }
  const module: unknown = await import(url.href)
  return roomBenchmark.parse(module).run
}

/** Beside the table in memory and the log in files, each backend has a file of its own. */
const fileOf = (name: string, backend: unknown): string =>
  typeof backend === 'string' && !['memory', 'file'].includes(backend) ? `${backend}-${name}` : name

function addRoomBenchmark(
  bench: Command,
  terminal: Terminal,
  { name, description }: { name: string; description: string },
): Command {
  return withJson(bench.command(name))
    .description(description)
    .option('--seed <number>', 'of the data', wholeNumber(0), 1)
    .action(async ({ json, ...options }: Record<string, unknown>) => {
      const run = await loadRoomBenchmark(fileOf(name, options['backend']))
      const result = await run(options, terminal.progress)
      const config = asJson.parse(options)
      printReport(terminal, report({ config, ...result }), json === true)
    })
}

const orAll = (text: string): number | 'all' => (text === 'all' ? text : wholeNumber(1)(text))

function addDistributed(bench: Command, terminal: Terminal): void {
  const description = 'recorded events through Kafka, a trainer and replicas, as processes'
  withConfig(addRoomBenchmark(bench, terminal, { name: 'distributed', description }))
    .requiredOption('--file <file>', 'recorded interactions, as replay reads them')
    .option('--columns <mapping>', 'which column is what (default: guessed)')
    .option('--events <number>', 'as fast as it goes; all: the whole file', orAll, 400_000)
    .option('--warmup <number>', 'events before that', wholeNumber(1), 40_000)
    .option('--rate <number>', 'events per second after that', wholeNumber(1), 5_000)
    .option('--seconds <number>', 'at that rate', wholeNumber(1), 20)
    .option('--queries <number>', 'recommendations per second', decimal(1), 50)
    .option('--partitions <number>', 'of the topic', wholeNumber(1, 256), 4)
    .option('--replicas <number>', 'that serve', wholeNumber(1, 16), 2)
    .option('--niceness <number>', 'of the replicas', wholeNumber(0, 19), 0)
    .option('--profiles <folder>', 'processor profiles of the processes')
    .option('--no-verify', 'without the embedded replay of the same interleaving')
}

function addTakeover(bench: Command, terminal: Terminal): void {
  const description = 'how soon a standby trains when the active trainer is killed or stopped'
  withConfig(addRoomBenchmark(bench, terminal, { name: 'takeover', description }))
    .option(
      '--items <number>',
      'items, and users: a row of each in each table',
      wholeNumber(1),
      2e5,
    )
    .option('--dim <number>', 'floats per vector', wholeNumber(1, 1024), 64)
    .option('--rate <number>', 'events per second', wholeNumber(1), 1_000)
    .option('--age <seconds>', 'since the newest checkpoint', decimal(0), 30)
    .option('--rounds <number>', 'kills, and stops', wholeNumber(1, 100), 3)
}

function addRoomBenchmarks(bench: Command, terminal: Terminal): void {
  addRoomBenchmark(bench, terminal, { name: 'table', description: 'embedding table verbs' })
    .option('--backend <name>', 'which table', oneOf('memory', 'redis', 'tiered'), 'memory')
    .option('--redis <url>', 'server of redis or tiered; default: one is started', redisUrl)
    .option('--rows <number>', 'rows in the table', wholeNumber(1), 1_000_000)
    .option('--repeats <number>', 'measurements of each verb', wholeNumber(1, 1000), 5)
    .option('--dim <number>', 'floats per vector', wholeNumber(1, 1024), 32)
  const turnover = 'other users every day, at fixed capacity'
  addRoomBenchmark(bench, terminal, { name: 'turnover', description: turnover })
    .option('--rows <number>', 'rows that the table may hold', wholeNumber(64), 500_000)
    .option('--users <number>', 'users that the learner may know', wholeNumber(64), 16_384)
    .option('--days <number>', 'days', wholeNumber(4, 10_000), 20)
  const incidents = 'NaN, exploded weights and inverted labels, with the guard and without'
  withConfig(addRoomBenchmark(bench, terminal, { name: 'guard', description: incidents }))
    .requiredOption('--file <file>', 'recorded interactions, as replay reads them')
    .option('--columns <mapping>', 'which column is what (default: guessed)')
    .option('--events <number>', 'before the incident, and after it', wholeNumber(1), 60_000)
    .option('--hours <number>', 'of inverted labels', decimal(0), 1)
  addRoomBenchmark(bench, terminal, { name: 'train', description: 'the whole training step' })
    .option('--dim <number>', 'floats per embedding', wholeNumber(1, 1024), 64)
    .option('--layers <units>', 'units of the dense layers', wholeNumbers, [64, 32])
    .option('--batch <number>', 'examples per batch', wholeNumber(1, 65_536), 1_024)
    .option('-t, --threads <number>', 'threads', wholeNumber(1, 64), 2)
    .option('--seconds <number>', 'of each measurement', decimal(0), 2)
    .option('--repeats <number>', 'measurements', wholeNumber(1, 1000), 5)
    .option('--engine <name>', 'of the towers', oneOf('wasm', 'tfjs'), 'wasm')
    .option('--backend <name>', 'of tfjs; default: the best there is', oneOf(...tfjsBackends))
    .option('--curve', 'over batches, dims and threads instead')
    .option('--crossover', 'both engines over batches and widths instead')
  addRoomBenchmark(bench, terminal, { name: 'index', description: 'nearest-neighbour search' })
    .option('--count <number>', 'points', wholeNumber(1), 1_000_000)
    .option('--dim <number>', 'floats per vector', wholeNumber(1, 1024), 32)
    .option('--vectors <file>', 'points from a .npy file (f32) instead')
    .option('--queries <file>', 'queries from a .npy file (f32)')
    .option('--flat-below <items>', 'up to so many are all scored', wholeNumber(0))
    .option('--exact-dims <number>', 'last dimensions that are not coded', wholeNumber(0))
    .option('--parts <names>', `some of ${indexParts.join()}; default: all`, someOf(...indexParts))
  addDistributed(bench, terminal)
  addTakeover(bench, terminal)
  addRoomBenchmark(bench, terminal, { name: 'log', description: 'event log append and replay' })
    .option('--backend <name>', 'which log: file or kafka', oneOf('file', 'kafka'), 'file')
    .option('--brokers <host:port>', 'of kafka; default: one is started')
    .option('--events <number>', 'events', wholeNumber(1), 500_000)
    .option('--batch <number>', 'events per append', wholeNumber(1), 1_000)
}

/** Flags of the benchmarks that start a service and load it. */
const withLoad = (command: Command): Command =>
  withJson(withConfig(command))
    .option('--users <number>', 'users', wholeNumber(1), 10_000)
    .option('--events <number>', 'events per second', decimal(1), 2_000)
    .option('--events-per-request <number>', 'of them in one request', wholeNumber(1, 1_000), 10)
    .option('-t, --threads <number>', 'threads of the trainer', wholeNumber(1, 64))
    .option('--warmup <seconds>', 'of load before measuring', decimal(0), 3)
    .option('--seed <number>', 'of the load', wholeNumber(0), 1)

/** The configuration flags again, for the service that is started. */
function serviceFlags({ config, set, threads }: Flags): readonly string[] {
  const flags = ['--set', 'process.logging.level=warn']
  if (config !== undefined) flags.push('--config', config)
  if (threads !== undefined) flags.push('--threads', String(threads))
  for (const override of set ?? []) flags.push('--set', override)
  return flags
}

interface LoadFlags extends Flags {
  readonly items: number
  readonly users: number
  readonly rate: number
  readonly events: number
  readonly eventsPerRequest: number
  readonly seconds: number
  readonly warmup: number
  readonly n: number
  readonly overload?: number
  readonly seed: number
}

function addLoad(
  command: Command,
  terminal: Terminal,
  run: typeof benchHttp | typeof benchFreshness,
): void {
  command.action(async (flags: LoadFlags) => {
    const loaded = configOf(flags, 'shop')
    using stop = stopSignal()
    const options = {
      ...flags,
      flags: serviceFlags(flags),
      clock: systemClock,
      progress: terminal.progress,
    }
    const result = await run(options, stop.signal)
    printReport(terminal, report(result, loaded), flags.json === true)
  })
}

/** As multiples of what the configuration grants. */
const shares = (text: string): readonly number[] => text.split(',').map(decimal(0.01, 100))

interface AlignmentFlags
  extends Flags, Omit<BenchAlignmentOptions, 'budgets' | 'sweepShare' | 'flags'> {
  readonly budgets: readonly number[]
}

function addAlignment(bench: Command, terminal: Terminal): void {
  withLoad(bench.command('alignment'))
    .description('how close the index stays to towers that learn from the simulated shop')
    .option('--items <number>', 'items in the catalogue', wholeNumber(1), 200_000)
    .option('--rate <number>', 'recommendations per second', decimal(1), 200)
    .option('--seconds <number>', 'how long to measure each budget', decimal(1), 60)
    .option('--every <seconds>', 'between two audits', decimal(0.1), 5)
    .option('--budgets <shares>', 'of embedPerSecond and sweepPerSecond', shares, [0.5, 1, 2])
    .action(async (flags: AlignmentFlags) => {
      const loaded = configOf(flags, 'shop')
      const { embedPerSecond, sweepPerSecond } = loaded.config.process.serving
      using stop = stopSignal()
      const options = {
        ...flags,
        budgets: flags.budgets.map((share) => Math.max(1, Math.round(share * embedPerSecond))),
        sweepShare: sweepPerSecond / embedPerSecond,
        flags: serviceFlags(flags),
        clock: systemClock,
        progress: terminal.progress,
      }
      const result = await benchAlignment(options, stop.signal)
      printReport(terminal, report(result, loaded), flags.json === true)
    })
}

export function addBench(program: Command, terminal: Terminal): void {
  const bench = program.command('bench').description('benchmarks')
  addRoomBenchmarks(bench, terminal)
  const http = withLoad(bench.command('http'))
    .description('recommendations and events over HTTP while training runs')
    .option('--items <number>', 'items in the catalogue', wholeNumber(1), 100_000)
    .option('--rate <number>', 'recommendations per second', decimal(1), 5_000)
    .option('--n <number>', 'items per recommendation', wholeNumber(1, 1_000), 10)
    .option('--overload <factor>', 'then so many times what it can answer', decimal(1))
    .option('--seconds <number>', 'how long to measure', decimal(1), 15)
  addLoad(http, terminal, benchHttp)
  const freshness = withLoad(bench.command('freshness'))
    .description('from an event to its effect on queries, by stage')
    .option('--items <number>', 'items in the catalogue', wholeNumber(1), 50_000)
    .option('--seconds <number>', 'how long to measure', decimal(1), 30)
  addLoad(freshness, terminal, benchFreshness)
  addAlignment(bench, terminal)
}
