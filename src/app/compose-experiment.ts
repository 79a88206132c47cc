/**
 * The record of what came of answers. In one process a file is kept by whoever answers. In many,
 * whoever answers sends to Redis, and one of those that train counts: it answers nobody, so what
 * reading the log once more costs is no request's.
 */
import type { Service } from '../base/service.ts'
import type { ExperimentDesk } from '../serving/versions/versions-desk.ts'
import type { ComposedVersions, VersionContext } from './compose-versions.ts'
import { redisSettings } from './config/servers-options.ts'
import { dataPaths } from './options.ts'
import { AnswerCounter } from './versions/answer-counter.ts'
import { AnswerSender } from './versions/answer-sender.ts'
import { ExperimentRecorder } from './versions/experiment-recorder.ts'
import { ExperimentStore } from './versions/experiment-store.ts'
import { familyTag } from './versions/version-paths.ts'

export interface Experimenting extends Service, ExperimentDesk {}

/** How long a process that counts may be silent before another one does. */
const countHoldMs = 5_000

type Context = Pick<VersionContext, 'config' | 'shape' | 'clock' | 'logger'>

/** Of a process that answers; undefined: nothing is to be recorded. */
export function experimentOf(
  { config, shape, clock, logger }: Context,
  composed: ComposedVersions,
): Experimenting | undefined {
  const { process } = config
  const { record, ...rest } = process.experiment
  if (record === 'never') return undefined
  const { versions } = composed
  const isWanted = wanted(record, composed)
  const onTrouble = (error: unknown): void =>
    logger.error({ error: String(error) }, 'the experiment is not recorded')
  const directory = dataPaths(process.dataDirectory).experiment
  const recorder =
    process.shape === 'distributed'
      ? new AnswerSender({ ...rest, store: storeOf(config), clock, isWanted, onTrouble })
      : new ExperimentRecorder({ ...rest, directory, log: shape.log, clock, isWanted, onTrouble })
  versions.listen(() => void recorder.follow())
  return recorder
}

/** Of a process of many that trains. */
export function counterOf(
  { config, shape, clock, logger }: Context,
  composed: ComposedVersions,
): Service | undefined {
  const { roles, experiment, shape: which } = config.process
  const { record, windowMs, maxAnswers, types } = experiment
  if (which !== 'distributed' || record === 'never' || !roles.includes('trainer')) return undefined
  const counter = new AnswerCounter({
    windowMs,
    maxAnswers,
    types,
    store: storeOf(config),
    log: shape.log,
    clock,
    holdMs: countHoldMs,
    isWanted: wanted(record, composed),
    onTrouble: (error) => logger.error({ error: String(error) }, 'the experiment is not counted'),
  })
  composed.versions.listen(() => void counter.follow())
  return counter
}

const wanted =
  (record: 'auto' | 'always', { areSeveral }: ComposedVersions): (() => boolean) =>
  () =>
    record === 'always' || areSeveral()

const storeOf = (config: VersionContext['config']): ExperimentStore =>
  new ExperimentStore({
    redis: redisSettings(config.process.redis, 'process.redis'),
    tag: familyTag(config),
    maxAnswers: config.process.experiment.maxAnswers,
  })
