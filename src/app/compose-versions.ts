/**
 * What learns and what answers: trainer and replica of each version of the model, as far as the
 * process has the roles. In one process the list of versions is a file, in many it is in Redis.
 */
import { join } from 'node:path'

import type { Clock } from '../base/clock.ts'
import type { Service } from '../base/service.ts'
import { planModel } from '../model/plan.ts'
import type { VersionsMetrics } from '../serving/http/version-metrics.ts'
import { ServingService } from '../serving/serving-service.ts'
import type { VersionsDesk } from '../serving/versions/versions-desk.ts'
import { checkpointFacts } from './checkpoint-facts.ts'
import { type Experimenting, experimentOf } from './compose-experiment.ts'
import type { Config } from './config/config-schema.ts'
import { parseModel } from './config/config.ts'
import { prepareDataDirectory } from './data-directory.ts'
import { dataPaths, factsOptions, modelSpec, trainerModel, trainerProcess } from './options.ts'
import type { TrainerView } from './service-view.ts'
import type { ModelChannel, Shape, TrainerPart } from './shape.ts'
import type { Logger } from './telemetry.ts'
import { joinVersions, type KeptVersions } from './versions/join-versions.ts'
import { learningOf } from './versions/learning.ts'
import { LocalDesk } from './versions/local-desk.ts'
import { onlyVersion, openVersions, sayAdded } from './versions/open-versions.ts'
import type { VersionParts } from './versions/running-version.ts'
import { readVersions, writeVersions } from './versions/version-file.ts'
import type { VersionEntry, VersionList } from './versions/version-list.ts'
import { configOf, sweep } from './versions/version-paths.ts'
import type { VersionRecommender } from './versions/version-recommender.ts'
import { Versions } from './versions/versions.ts'

export interface VersionContext {
  readonly config: Config
  readonly shape: Shape
  readonly view: TrainerView
  readonly clock: Clock
  readonly logger: Logger
  readonly signal: AbortSignal
  readonly fail: (error: unknown) => void
}

/** Whether this process can have several. */
const canHaveVersions = ({ process: { shape, roles } }: Config): boolean =>
  shape === 'distributed'
    ? roles.some((role) => role !== 'ingest')
    : roles.includes('trainer') && roles.includes('serving')

export interface ComposedVersions {
  readonly versions: Versions
  /** What keeps them in step with those of other processes. */
  readonly shared: Service | undefined
  /** Whether there are several, here or elsewhere. */
  readonly areSeveral: () => boolean
}

/** Throws `VERSION*`, and what checkpoints and log throw. */
export async function composeVersions(context: VersionContext): Promise<ComposedVersions> {
  const { config, view } = context
  const isShared = config.process.shape === 'distributed' && canHaveVersions(config)
  const joined = isShared ? await joinVersions(context) : undefined
  const kept = joined ?? { list: await localVersions(context), ...localKeeping(config) }
  const versions = await create(kept, context)
  versions.listen(() => {
    const status = versions.primary.parts.trainer?.status
    if (status !== undefined) view.take(status)
  })
  joined?.attach(versions)
  const areSeveral = (): boolean => (joined?.all() ?? versions.list).versions.length > 1
  return { versions, shared: joined?.service, areSeveral }
}

/** Where the list is a file, those beside the primary are swept away with it. */
const localKeeping = ({ process: { dataDirectory } }: Config): Omit<KeptVersions, 'list'> => ({
  async keep(list, change) {
    const next = change(list)
    if (next !== list) await writeVersions(dataDirectory, next)
    return next
  },
  sweep: (list) => sweep(dataDirectory, list),
})

async function create(kept: KeptVersions, context: VersionContext): Promise<Versions> {
  const { config, clock, view, logger, fail } = context
  const { max, warmLagEvents } = config.process.versions
  const versions: Versions = await Versions.create({
    ...kept,
    max,
    warmLagEvents,
    now: () => clock.now(),
    learning(name, trainer) {
      const status = trainer?.status
      if (status === undefined) return kept.learningElsewhere?.(name)
      return learningOf(status, view.eventsAfter(status.position))
    },
    make: (entry, failed) => make(entry, context, { failed, isPrimary: () => isPrimary(entry) }),
    hasOthers: canHaveVersions(config),
    onFailure: fail,
    onTrouble: (version, error) =>
      logger.error({ version, error: String(error) }, 'a version has failed: others go on'),
  })
  const isPrimary = ({ name }: VersionEntry): boolean => versions.primary.name === name
  return versions
}

export interface VersionsBeside {
  readonly desk: VersionsDesk
  /** Absent: nothing is to be recorded. */
  readonly experiment: Experimenting | undefined
  /** Undefined while there is nothing to compare, nor to record. */
  metrics(): VersionsMetrics | undefined
}

/** What is asked of versions; undefined where a process has one, or answers nothing. */
export function versionsBeside(
  { config, ...context }: VersionContext,
  composed: ComposedVersions,
  recommender: VersionRecommender,
): VersionsBeside | undefined {
  if (!canHaveVersions(config) || !config.process.roles.includes('serving')) return undefined
  const { versions } = composed
  const parse = (given: unknown): Config['model'] => {
    const model = parseModel(given, config)
    planModel(modelSpec(model))
    return model
  }
  const desk = new LocalDesk({ versions, recommender, max: config.process.versions.max, parse })
  const experiment = experimentOf({ config, ...context }, composed)
  return {
    desk,
    experiment,
    metrics() {
      const found = experiment?.report()
      if (versions.isAlone && found?.recording !== true) return undefined
      return { versions: desk.view().versions, ...(found && { experiment: found }) }
    },
  }
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

/** One that learns or answers, but not both, has the primary of its data directory. */
async function localVersions({ config, clock, logger }: VersionContext): Promise<VersionList> {
  const now = clock.now()
  const { shape, dataDirectory } = config.process
  if (!canHaveVersions(config)) {
    const known = shape === 'embedded' ? readVersions(dataDirectory) : undefined
    return known ?? onlyVersion(config, now)
  }
  const found = await openVersions(config, now)
  sayAdded(found, logger)
  return found.list
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
  const channel = context.shape.model(config)
  const own = { ...context, config, channel, ...making }
  const serving = roles.includes('serving') ? await composeServing(own) : undefined
  return {
    trainer: roles.includes('trainer') ? composeTrainer(own, entry) : undefined,
    serving,
    asked: serving === undefined ? [] : channel.replica(serving),
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
