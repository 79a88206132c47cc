/**
 * The versions that a start finds. A model that no version was made with is a new version beside
 * the one that answers: it learns the log from its start, and gets no traffic until it is told to.
 */
import { isDeepStrictEqual } from 'node:util'

import { planModel } from '../../model/plan.ts'
import type { Json } from '../../stream/event.ts'
import { comparable } from '../../trainer/checkpoint/checkpoints.ts'
import { differingFields } from '../../trainer/checkpoint/config-difference.ts'
import type { TrainerModel } from '../../trainer/trainer-config.ts'
import { type ModelConfig, modelSchema } from '../config/config-model-schema.ts'
import type { Config } from '../config/config-schema.ts'
import { checkpointStore } from '../newest-checkpoint.ts'
import { modelSpec, trainerModel } from '../options.ts'
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
  /** The version that this start has added, and where its model is not as the primary's. */
  readonly added?: { readonly name: string; readonly fields: readonly string[] }
}

/** Throws `VERSIONS_DAMAGED`, `VERSIONS_FULL`, `CONFIG_INVALID`. */
export async function openVersions(config: Config, now: number): Promise<FoundVersions> {
  const { dataDirectory, versions: options } = config.process
  const { model } = config
  const before = readVersions(dataDirectory)
  const known = before ?? listOf(firstVersion(config, now))
  const same = sameVersion(known, model)
  if (same === undefined && options.onChange === 'refuse') {
    // The trainer finds a checkpoint of another model, and says so.
    return { list: withModel(known, known.primary, model) }
  }
  if (same !== undefined) {
    const list = withModel(known, same, model)
    if (before === undefined || list !== known) await writeVersions(dataDirectory, list)
    return { list }
  }
  // What cannot be a model is no version.
  planModel(modelSpec(model))
  const name = freeName(known, model.name)
  const list = withVersion(known, { name, model, createdAt: now }, options.max)
  await writeVersions(dataDirectory, list)
  return { list, added: { name, fields: differing(versionOf(known, known.primary).model, model) } }
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
