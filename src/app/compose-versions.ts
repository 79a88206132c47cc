/**
 * What learns and what answers: trainer and replica of each version of the model. Versions beside
 * one another are there where the log, the trainer and the replica are of one process.
 */
import { join } from 'node:path'

import type { Clock } from '../base/clock.ts'
import { planModel } from '../model/plan.ts'
import type { VersionsMetrics } from '../serving/http/version-metrics.ts'
import { ServingService } from '../serving/serving-service.ts'
import type { VersionsDesk } from '../serving/versions/versions-desk.ts'
import { checkpointFacts } from './checkpoint-facts.ts'
import type { Config } from './config/config-schema.ts'
import { parseModel } from './config/config.ts'
import { prepareDataDirectory } from './data-directory.ts'
import { dataPaths, factsOptions, modelSpec, trainerModel, trainerProcess } from './options.ts'
import type { TrainerView } from './service-view.ts'
import type { ModelChannel, Shape, TrainerPart } from './shape.ts'
import type { Logger } from './telemetry.ts'
import { ExperimentRecorder } from './versions/experiment-recorder.ts'
import { LocalDesk } from './versions/local-desk.ts'
import { openVersions } from './versions/open-versions.ts'
import type { VersionParts } from './versions/running-version.ts'
import { readVersions, writeVersions } from './versions/version-file.ts'
import { listOf, type VersionEntry, type VersionList } from './versions/version-list.ts'
import { configOf, sweep } from './versions/version-paths.ts'
import type { VersionRecommender } from './versions/version-recommender.ts'
import { Versions } from './versions/versions.ts'

export interface VersionContext {
  readonly config: Config
  readonly shape: Shape
  readonly view: TrainerView
  readonly clock: Clock
  readonly logger: Logger
  readonly fail: (error: unknown) => void
}

/** Whether this process can have several. */
const canHaveVersions = ({ process }: Config): boolean =>
  process.shape === 'embedded' &&
  process.roles.includes('trainer') &&
  process.roles.includes('serving')

/** Throws `VERSIONS_*`, and what checkpoints and log throw. */
export async function composeVersions(context: VersionContext): Promise<Versions> {
  const { config, clock, view, logger, fail } = context
  const { dataDirectory, versions: options } = config.process
  const list = await foundVersions(context)
  const versions: Versions = await Versions.create({
    list,
    max: options.max,
    warmLagEvents: options.warmLagEvents,
    now: () => clock.now(),
    lagEvents: ({ status }) => status && view.eventsAfter(status.position),
    make: (entry, failed) => make(entry, context, { failed, isPrimary: () => isPrimary(entry) }),
    write: (next) => writeVersions(dataDirectory, next),
    hasOthers: canHaveVersions(config),
    sweep: (next) => sweep(dataDirectory, next),
    onFailure: fail,
    onTrouble: (version, error) =>
      logger.error({ version, error: String(error) }, 'a version has failed: others go on'),
  })
  versions.listen(() => {
    const status = versions.primary.parts.trainer?.status
    if (status !== undefined) view.take(status)
  })
  const isPrimary = ({ name }: VersionEntry): boolean => versions.primary.name === name
  return versions
}

export interface VersionsBeside {
  readonly desk: VersionsDesk
  /** Absent: nothing is to be recorded. */
  readonly experiment: ExperimentRecorder | undefined
  metrics(): VersionsMetrics
}

/** What is asked of versions; undefined where a process has one. */
export function versionsBeside(
  { config, shape, clock, logger }: VersionContext,
  versions: Versions,
  recommender: VersionRecommender,
): VersionsBeside | undefined {
  if (!canHaveVersions(config)) return undefined
  const { dataDirectory, versions: options, experiment } = config.process
  const { record, ...rest } = experiment
  const { max } = options
  const parse = (given: unknown): Config['model'] => {
    const model = parseModel(given, config)
    planModel(modelSpec(model))
    return model
  }
  const desk = new LocalDesk({ versions, recommender, max, parse })
  if (record === 'never') {
    return { desk, experiment: undefined, metrics: () => ({ versions: desk.view().versions }) }
  }
  const recorder = new ExperimentRecorder({
    ...rest,
    directory: dataPaths(dataDirectory).experiment,
    log: shape.log,
    clock,
    isWanted: () => record === 'always' || !versions.isAlone,
    onTrouble: (error) => logger.error({ error: String(error) }, 'the experiment is not recorded'),
  })
  versions.listen(() => void recorder.follow())
  const metrics = (): VersionsMetrics => ({
    versions: desk.view().versions,
    experiment: recorder.report(),
  })
  return { desk, experiment: recorder, metrics }
}

/** Of the log, what some version may need after a restart; undefined: all. */
export function neededFrom(versions: Versions): string | undefined {
  const { list, running, primary } = versions
  if (running.length < list.versions.length) return undefined
  const offsets = running
    .filter((version) => version === primary || version.state !== 'failed')
    .map(({ parts }) => parts.trainer?.status?.retainFrom[0])
  return offsets.reduce((least, offset) => earlier(least, offset))
}

/** Whoever has not said yet may need all. */
const earlier = (a: string | undefined, b: string | undefined): string | undefined =>
  a === undefined || b === undefined ? undefined : String(Math.min(Number(a), Number(b)))

async function foundVersions({ config, clock, logger }: VersionContext): Promise<VersionList> {
  const now = clock.now()
  if (!canHaveVersions(config)) return onlyVersion(config, now)
  const { list, added } = await openVersions(config, now)
  if (added !== undefined) {
    const { name: version, fields } = added
    const details = { version, primary: list.primary, differs: fields.join(', ') }
    logger.warn(details, 'the model has changed: it is learned beside the one that answers')
  }
  return list
}

/** Of a process that learns or answers, but not both: the primary of its data directory. */
function onlyVersion({ model, process }: Config, now: number): VersionList {
  const known = process.shape === 'embedded' ? readVersions(process.dataDirectory) : undefined
  if (known !== undefined) return known
  return listOf({ name: model.name, folder: '', model, percent: 0, createdAt: now })
}

interface Making {
  readonly failed: (error: unknown) => void
  readonly isPrimary: () => boolean
}

async function make(
  entry: VersionEntry,
  context: VersionContext,
  making: Making,
): Promise<VersionParts> {
  const config = configOf(context.config, entry)
  const { roles } = config.process
  if (entry.folder !== '') prepareDataDirectory(config.process)
  const channel = context.shape.beside?.() ?? context.shape
  const own = { ...context, config, channel, ...making }
  return {
    trainer: roles.includes('trainer') ? composeTrainer(own, entry) : undefined,
    serving: roles.includes('serving') ? await composeServing(own) : undefined,
  }
}

interface VersionOwn extends VersionContext, Making {
  readonly channel: ModelChannel
}

function composeTrainer(own: VersionOwn, { name, folder }: VersionEntry): TrainerPart {
  const { config, channel, view, logger, failed, isPrimary } = own
  const which = folder === '' ? {} : { version: name }
  return channel.trainer({
    model: trainerModel(config.model),
    process: trainerProcess(config),
    report: ({ level, code, message, details }) =>
      logger[level]({ ...which, code, ...details }, message),
    onStatus: (status) => isPrimary() && view.take(status),
    onFailure: failed,
  })
}

async function composeServing(own: VersionOwn): Promise<ServingService> {
  const { config, shape, channel, clock, logger, failed } = own
  const { model, process } = config
  const { log } = shape
  const start = await checkpointFacts(config, log)
  return new ServingService({
    model: modelSpec(model),
    tables: model.tables,
    facts: factsOptions(model),
    log,
    parameters: channel.subscriber(),
    clock,
    settings: process.serving,
    implementation: process.kernels,
    ...(start && { start }),
    // Replicas of many processes have no directory of their own.
    ...(process.shape === 'embedded' && {
      indexFile: join(dataPaths(process.dataDirectory).index, 'live.index'),
    }),
    onWarning: (error) => logger.warn({ error: String(error) }, 'the index was not kept'),
    onFailure: failed,
  })
}
