/**
 * The versions that a start finds. A model that no version was made with is a new version beside
 * the one that answers: it learns the log from its start, and gets no traffic until it is told to.
 */
import { isDeepStrictEqual } from 'node:util'

import { ServiceError } from '../../base/errors.ts'
import { planModel } from '../../model/plan.ts'
import type { Json } from '../../stream/event.ts'
import { comparable } from '../../trainer/checkpoint/checkpoints.ts'
import { differingFields } from '../../trainer/checkpoint/config-difference.ts'
import type { TrainerModel } from '../../trainer/trainer-config.ts'
import { type ModelConfig, modelSchema } from '../config/config-model-schema.ts'
import type { Config } from '../config/config-schema.ts'
import { checkpointStore } from '../newest-checkpoint.ts'
import { modelSpec, trainerModel } from '../options.ts'
import type { Logger } from '../telemetry.ts'
import { readVersions, writeVersions } from './version-file.ts'
import {
  freeName,
  listOf,
  type VersionEntry,
  type VersionList,
  versionOf,
  withVersion,
} from './version-list.ts'

export interface FoundVersions {
  readonly list: VersionList
  /** The model is not to be learned: the list is not to be kept. */
  readonly isRefused: boolean
  /** The version that this start has added, and where its model is not as the primary's. */
  readonly added?: { readonly name: string; readonly fields: readonly string[] }
}

/** Of the data directory. Throws `VERSIONS_DAMAGED`, `VERSIONS_FULL`, `CONFIG_INVALID`. */
export async function openVersions(config: Config, now: number): Promise<FoundVersions> {
  const { dataDirectory } = config.process
  const before = readVersions(dataDirectory)
  const found = foundVersions(before, config, now)
  if (!found.isRefused && found.list !== before) await writeVersions(dataDirectory, found.list)
  return found
}

/** `before`: the list that there was; of it alone where a start changes nothing. */
export function foundVersions(
  before: VersionList | undefined,
  config: Config,
  now: number,
): FoundVersions {
  const { versions: options } = config.process
  const { model } = config
  const known = before ?? listOf(firstVersion(config, now))
  const same = sameVersion(known, model)
  if (same === undefined && options.onChange === 'refuse') {
    // The trainer finds a checkpoint of another model, and says so.
    return { list: withModel(known, known.primary, model), isRefused: true }
  }
  if (same !== undefined) return { list: withModel(known, same, model), isRefused: false }
  // What cannot be a model is no version.
  planModel(modelSpec(model))
  const name = freeName(known, model.name)
  const list = withVersion(known, { name, model, createdAt: now }, options.max)
  const fields = differing(versionOf(known, known.primary).model, model)
  return { list, isRefused: false, added: { name, fields } }
}

/**
 * With the version that a trainer is told to train: the one that there is, or a new one of the
 * trainer's model. The first is the one that has the model's own name. Throws `VERSION_EXISTS`
 * where that name is another model's, `VERSION_NOT_READY` while there is no first one,
 * `VERSIONS_FULL`, `CONFIG_INVALID`.
 */
export function withTrained(
  before: VersionList | undefined,
  config: Config,
  { name, now }: { readonly name: string; readonly now: number },
): VersionList {
  const { model } = config
  const { max } = config.process.versions
  if (before === undefined) {
    const first = firstVersion(config, now)
    if (first.name === name) return listOf(first)
    const reason = 'no version answers yet: start a trainer of the one that is to answer'
    throw new ServiceError('VERSION_NOT_READY', { version: name, reason })
  }
  const isThere = before.versions.some((version) => version.name === name)
  if (isThere && sameVersion(before, model) !== undefined) return before
  planModel(modelSpec(model))
  return withVersion(before, { name, model, createdAt: now }, max)
}

/** What a process has that knows of no list. */
export const onlyVersion = ({ model }: Config, createdAt: number): VersionList =>
  listOf({ name: model.name, folder: '', model, percent: 0, createdAt })

export function sayAdded({ list, added }: FoundVersions, logger: Logger): void {
  if (added === undefined) return
  const { name: version, fields } = added
  const details = { version, primary: list.primary, differs: fields.join(', ') }
  logger.warn(details, 'the model has changed: it is learned beside the one that answers')
}

/** Of a directory without a list of versions: as its checkpoints have it, if there are any. */
function firstVersion({ model, process }: Config, createdAt: number): VersionEntry {
  const entry = { name: model.name, folder: '', percent: 0, createdAt, model }
  const saved = checkpointStore(process.dataDirectory).oldest()?.config
  if (saved === undefined || differingFields(saved, comparable(trainerModel(model))).length === 0) {
    return entry
  }
  return { ...entry, model: modelOf(saved, model) }
}

/** The model that a checkpoint was made with; what it does not say is as in `model`. */
function modelOf(saved: Json, model: ModelConfig): ModelConfig {
  // It was written from such values.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { spec, facts } = saved as unknown as Pick<TrainerModel, 'spec' | 'facts'>
  const { query, candidate, ...rest } = spec
  const { activeWindowMs: _, popularityHalfLifeMs: __, examples: ___, ...bounds } = facts
  return modelSchema.parse({
    ...model,
    ...rest,
    towers: { query, candidate },
    facts: { ...bounds, futureSkewMs: model.facts.futureSkewMs },
  })
}

/** Who has learned as `model` says: the very same, else the primary, else any. */
function sameVersion({ primary, versions }: VersionList, model: ModelConfig): string | undefined {
  const alike = versions.filter((version) => differing(version.model, model).length === 0)
  const found =
    alike.find((version) => isDeepStrictEqual(version.model, { ...model, name: version.name })) ??
    alike.find(({ name }) => name === primary) ??
    alike[0]
  return found?.name
}

/** What may change from start to start is as the configuration has it. */
function withModel(list: VersionList, name: string, model: ModelConfig): VersionList {
  const changed = { ...model, name }
  if (isDeepStrictEqual(versionOf(list, name).model, changed)) return list
  return {
    ...list,
    versions: list.versions.map((version) =>
      version.name === name ? { ...version, model: changed } : version,
    ),
  }
}

/** Paths at which what is learned differs. */
export const differing = (a: ModelConfig, b: ModelConfig): readonly string[] =>
  differingFields(comparable(trainerModel(a)), comparable(trainerModel(b)))
