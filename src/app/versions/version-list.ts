/**
 * Which versions of the model there are, who answers, and how the traffic is split: a value, and
 * what may be done to it. Pure; `version-file.ts` keeps it, `versions.ts` acts on it.
 *
 * Invariants: names differ, folders differ, `primary` and `previous` are among the versions, the
 * primary's percent is 0 (it has what the others leave), and the percents add up to 100 at most.
 */
import { ServiceError } from '../../base/errors.ts'
import type { ModelConfig } from '../config/config-model-schema.ts'

export interface VersionEntry {
  /** Also the name of its model. */
  readonly name: string
  /** Where its journal and checkpoints lie in the data directory; '': in itself. */
  readonly folder: string
  readonly model: ModelConfig
  /** Of the users, in hundredths at the finest; what is left is the primary's. */
  readonly percent: number
  /** Epoch ms. */
  readonly createdAt: number
}

export interface VersionList {
  /** Who answers whatever is given to no other. */
  readonly primary: string
  /** Who was the primary before: where a roll back leads. */
  readonly previous?: string
  /** In the order in which they came. */
  readonly versions: readonly VersionEntry[]
}

export const listOf = (first: VersionEntry): VersionList => ({
  primary: first.name,
  versions: [first],
})

/** Throws `VERSION_UNKNOWN`. */
export function versionOf({ versions }: VersionList, name: string): VersionEntry {
  const found = versions.find((version) => version.name === name)
  if (found === undefined) {
    const known = versions.map((version) => version.name).join(', ')
    throw new ServiceError('VERSION_UNKNOWN', { version: name, known })
  }
  return found
}

/** A name that is free: the wanted one, or with a number behind it. */
export function freeName({ versions }: VersionList, wanted: string): string {
  const taken = new Set(versions.map(({ name }) => name))
  if (!taken.has(wanted)) return wanted
  // A name has 64 letters at most.
  const stem = wanted.slice(0, 60)
  let number = 2
  while (taken.has(`${stem}-${number}`)) number += 1
  return `${stem}-${number}`
}

/** With another one, which gets no traffic. Throws `VERSION_EXISTS`, `VERSIONS_FULL`. */
export function withVersion(
  list: VersionList,
  { name, model, createdAt }: Pick<VersionEntry, 'name' | 'model' | 'createdAt'>,
  max: number,
): VersionList {
  if (list.versions.some((version) => version.name === name)) {
    throw new ServiceError('VERSION_EXISTS', { version: name })
  }
  if (list.versions.length >= max) throw new ServiceError('VERSIONS_FULL', { max })
  const entry = {
    name,
    folder: `versions/${name}`,
    model: { ...model, name },
    percent: 0,
    createdAt,
  }
  return { ...list, versions: [...list.versions, entry] }
}

/** Throws `VERSION_UNKNOWN`, `VERSION_ANSWERS`, and `REQUEST_INVALID` beyond 100 in all. */
export function withTraffic(list: VersionList, name: string, percent: number): VersionList {
  versionOf(list, name)
  if (name === list.primary) throw new ServiceError('VERSION_ANSWERS', { version: name })
  const versions = list.versions.map((version) =>
    version.name === name ? { ...version, percent } : version,
  )
  const sum = versions.reduce((total, version) => total + version.percent, 0)
  if (sum > 100) {
    const reason = `the versions would have ${sum} percent of the traffic together`
    throw new ServiceError('REQUEST_INVALID', { path: 'percent', in: 'body', reason })
  }
  return { ...list, versions }
}

/** Throws `VERSION_UNKNOWN`. Who is the primary already stays it, and nothing changes. */
export function withPrimary(list: VersionList, name: string): VersionList {
  versionOf(list, name)
  if (name === list.primary) return list
  return { ...list, primary: name, previous: list.primary, versions: without(list, name) }
}

/** Throws `VERSION_NONE_BEFORE`. */
export function rolledBack(list: VersionList): VersionList {
  const { previous, ...rest } = list
  if (previous === undefined) {
    throw new ServiceError('VERSION_NONE_BEFORE', { version: list.primary })
  }
  return { ...rest, primary: previous, versions: without(list, previous) }
}

/** Whoever answers has no share of its own. */
const without = ({ versions }: VersionList, primary: string): readonly VersionEntry[] =>
  versions.map((version) => (version.name === primary ? { ...version, percent: 0 } : version))

/** Throws `VERSION_UNKNOWN`, `VERSION_ANSWERS`. */
export function withoutVersion(list: VersionList, name: string): VersionList {
  versionOf(list, name)
  if (name === list.primary) throw new ServiceError('VERSION_ANSWERS', { version: name })
  const { previous, ...rest } = list
  return {
    ...rest,
    ...(previous !== undefined && previous !== name && { previous }),
    versions: list.versions.filter((version) => version.name !== name),
  }
}
