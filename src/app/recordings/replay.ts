/**
 * `freshet replay`: past interactions through the service's own trainer, test-then-train, as fast
 * as it goes. Batches are cut by count alone, so the result depends on the files and the model
 * only; a topic (`kafka://…`) is read in the order of time. With a data directory it saves
 * checkpoints there and goes on from the newest.
 */
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import { tablesThatShare } from '../../embedding/admission/admission.ts'
import type { EventLogReader } from '../../stream/event-log.ts'
import { RecordedLog, type RecordedLogOptions } from '../../stream/recorded/recorded-log.ts'
import type { EvaluationReport } from '../../trainer/evaluation/evaluator.ts'
import type { HourReport } from '../../trainer/evaluation/hourly-metrics.ts'
import { byRanking } from '../../trainer/evaluation/ranking-metrics.ts'
import type { TrainerProcess } from '../../trainer/trainer-config.ts'
import { Trainer } from '../../trainer/trainer-loop.ts'
import type { TrainerReport } from '../../trainer/trainer-status.ts'
import type { JsonObject } from '../command.ts'
import type { Config } from '../config/config-schema.ts'
import { farRowsOptions } from '../config/far-rows-options.ts'
import { peakRssBytes } from '../machine.ts'
import { makeDirectory } from '../make-directory.ts'
import { dataPaths, trainerModel, trainerProcess } from '../options.ts'
import { isKafkaUrl, openTopic } from './kafka-source.ts'

export interface ReplayOptions extends Omit<RecordedLogOptions, 'contextFields'> {
  readonly config: Config
  /** Events in all, those of earlier lives included. Absent: to the end of the files. */
  readonly limit?: number
  /** Checkpoints and rejected rows go here. Absent: nothing is kept. */
  readonly dataDirectory?: string
  /**
   * The evaluation ranks as a reader would whose parameters come in deltas, one every so much
   * stream time; absent: with the trainer's own. Not with a data directory.
   */
  readonly deltaIntervalMs?: number
  readonly clock: Clock
  /** Aborting it ends the replay early; the report is of what was done. */
  readonly signal: AbortSignal
  readonly progress: (line: string) => void
}

/** At most this long between two checkpoints, in milliseconds: a replay is over in a minute. */
const checkpointMs = 5_000
const progressMs = 2_000

/** Replays and answers what `freshet replay --json` prints. Throws what the trainer throws. */
export async function replay(options: ReplayOptions): Promise<JsonObject> {
  const { config, clock, dataDirectory, progress, signal, limit } = options
  checkDeltaInterval(options)
  const folder = dataDirectory ?? join(tmpdir(), `freshet-replay-${process.pid}`)
  makeDirectory(folder)
  const { rejectsFile = join(folder, 'rejects.ndjson') } = options
  const reader = await openSource({ ...options, rejectsFile })
  const startedAt = clock.monotonic()
  const trainer = await Trainer.create({
    model: trainerModel(config.model),
    process: {
      ...replayProcess(config, dataDirectory),
      evaluationDeltaMs: options.deltaIntervalMs,
    },
    reader,
    clock,
    report: (report) => tell(report, progress),
  })
  const { events: resumedFrom } = trainer.learner.facts
  const trainedBefore = trainer.learner.trained
  const ranFrom = clock.monotonic()
  const timer = setInterval(() => progress(describe(trainer)), progressMs)
  try {
    await trainer.run({ signal, untilEnd: true, limitEvents: limit ?? Infinity })
    const seconds = (clock.monotonic() - ranFrom) / 1000
    const { events } = trainer.learner.facts
    return {
      ...counts(trainer),
      eventsPerSecond: (events - resumedFrom) / seconds,
      examplesPerSecond: (trainer.learner.trained - trainedBefore) / seconds,
      seconds,
      startSeconds: (ranFrom - startedAt) / 1000,
      resumedFrom,
      ...reader.rejects(),
      threads: config.process.trainer.threads,
      ...(options.deltaIntervalMs !== undefined && { deltaIntervalMs: options.deltaIntervalMs }),
      ...evaluationJson(trainer.learner.evaluation()),
      hours: trainer.learner.evaluationHours().map(hourJson),
      stateDigest: await trainer.learner.digest(),
      peakRssBytes: peakRssBytes(),
    }
  } finally {
    clearInterval(timer)
    await trainer.close()
    await reader.close()
    const hasRejects = 'rejectsFile' in reader.rejects() && options.rejectsFile === undefined
    if (dataDirectory === undefined && !hasRejects) rmSync(folder, { recursive: true, force: true })
  }
}

/** Deltas of a checkpoint's past are not kept, and a row that keys share comes by another way. */
function checkDeltaInterval({ config, dataDirectory, deltaIntervalMs }: ReplayOptions): void {
  if (deltaIntervalMs === undefined) return
  const sharing = tablesThatShare(trainerModel(config.model).tables)
  if (dataDirectory === undefined && sharing.size === 0) return
  const reason = 'not with a data directory, nor with tables that do not admit every key'
  throw new ServiceError('USAGE_INVALID', { what: '--delta-interval', reason })
}

interface Source extends EventLogReader {
  /** What could not be read, for the report. */
  rejects(): JsonObject
}

/** Recorded files, or one topic. */
async function openSource(options: ReplayOptions & { rejectsFile: string }): Promise<Source> {
  const { config, files, rejectsFile, progress } = options
  const [url = ''] = files
  if (!isKafkaUrl(url)) {
    const log = new RecordedLog({ ...options, contextFields: contextFields(config) })
    return withRejects(log, () => ({
      rejected: Object.fromEntries(log.rejected),
      ...(log.rejected.size > 0 && { rejectsFile }),
    }))
  }
  if (files.length > 1) {
    throw new ServiceError('USAGE_INVALID', { what: url, reason: 'a topic is replayed alone' })
  }
  const { futureSkewMs: maxFutureMs } = config.model.facts
  const report = ({ message }: { message: string }): void => progress(message)
  const { reader, log } = await openTopic(url, { maxFutureMs, report })
  const rejects = (): JsonObject => {
    const { deadLetters: poison } = log.reading
    return poison > 0 ? { poison } : {}
  }
  return withRejects(reader, () => ({ rejected: rejects() }))
}

const withRejects = (log: EventLogReader, rejects: Source['rejects']): Source => ({
  read: (from, options) => log.read(from, options),
  start: () => log.start(),
  end: () => log.end(),
  compare: (a, b) => log.compare(a, b),
  close: () => log.close(),
  rejects,
})

/** No journal: where batches end must not depend on the clock. */
function replayProcess(config: Config, dataDirectory: string | undefined): TrainerProcess {
  const { threads, kernels, deltaIntervalMs, readMaxEvents } = trainerProcess(config)
  const farRows = farRowsOptions(config, dataDirectory !== undefined)
  const common = { threads, kernels, deltaIntervalMs, readMaxEvents }
  const settings = { ...common, ...(farRows && { farRows }) }
  if (dataDirectory === undefined) return settings
  const { keep, intervalMs } = config.process.checkpoints
  const { checkpoints: directory, quarantine: quarantineDirectory } = dataPaths(dataDirectory)
  const checkpoints = { directory, keep, intervalMs: Math.min(checkpointMs, intervalMs) }
  return { ...settings, checkpoints, quarantineDirectory }
}

/** Fields of the context that the model reads. */
export function contextFields({ model }: Config): readonly string[] {
  const features = [...model.towers.query.features, ...(model.score.popularity?.features ?? [])]
  return [...new Set(features.flatMap((one) => (one.kind === 'context' ? one.field : [])))]
}

function counts({ learner }: Trainer): JsonObject {
  const { facts, guard } = learner
  return {
    events: facts.events,
    examples: learner.trained,
    steps: learner.step,
    meanLoss: guard.mean,
    guardTrips: guard.trips,
    guardRollbacks: guard.rollbacks,
    items: facts.catalogue.size,
    users: facts.users.size,
    tables: learner.tableStats().map(({ name, rows, bytes, admitted, refused, evicted }) => ({
      name,
      rows,
      bytes,
      admitted,
      refused,
      evicted,
    })),
  }
}

const evaluationJson = ({ progressive, baselines, cohorts }: EvaluationReport): JsonObject => ({
  progressive: { ...progressive },
  baselines: {
    recentlyPopular: { ...baselines.recentlyPopular },
    coVisitation: { ...baselines.coVisitation },
  },
  cohorts: Object.fromEntries(Object.entries(cohorts).map(([name, of]) => [name, { ...of }])),
})

/** What a plot by hour needs; of all that is measured. */
function hourJson({ startsAt, loss, ...of }: HourReport): JsonObject {
  const at = (measure: 'hr10' | 'ndcg10' | 'mrr10'): JsonObject =>
    byRanking((ranking) => of[ranking][measure])
  const figures = { hr10: at('hr10'), ndcg10: at('ndcg10'), mrr10: at('mrr10') }
  return { startsAt, evaluated: of.model.evaluated, loss, ...figures }
}

function describe({ learner }: Trainer): string {
  const { progressive, baselines } = learner.evaluation()
  const found = `HR@10 ${percent(progressive.hr10)}, MRR@10 ${percent(progressive.mrr10)}`
  const popular = percent(baselines.recentlyPopular.hr10)
  return `${learner.facts.events} events, ${found}, recently popular ${popular}`
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`

function tell({ level, code, message }: TrainerReport, progress: (line: string) => void): void {
  if (level !== 'info' || code === 'restored') progress(`${level}: ${message}`)
}
