/**
 * A process of many joins the versions that are there: a trainer puts its model among them, all
 * others take them as they are. Where Redis does not answer in time, a trainer does not start, and
 * who answers has its own model alone until it does. Where it refuses, the lease says so.
 */
import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Service } from '../../base/service.ts'
import type { Config } from '../config/config-schema.ts'
import { redisSettings } from '../config/servers-options.ts'
import { processName } from '../distributed-model.ts'
import type { Logger } from '../telemetry.ts'
import type { Learning } from './learning.ts'
import { foundVersions, onlyVersion, sayAdded, withTrained } from './open-versions.ts'
import { type Saying, SharedVersions } from './shared-versions.ts'
import { type VersionEntry, type VersionList, versionOf } from './version-list.ts'
import { familyTag, sweep } from './version-paths.ts'
import type { Versions, VersionsOptions } from './versions.ts'

/** Where the list of versions is kept, and what is known of them beyond this process. */
export interface KeptVersions extends Pick<
  VersionsOptions,
  'list' | 'keep' | 'sweep' | 'missingElsewhere' | 'retryMs'
> {
  readonly learningElsewhere?: (name: string) => Learning | undefined
}

export interface JoinedVersions extends KeptVersions {
  readonly service: Service
  /** All versions that there are, also those that are not this process'. */
  all(): VersionList | undefined
  /** From then on it follows the list, and says how the process' own versions are. */
  attach(versions: Versions): void
}

export interface JoiningContext {
  readonly config: Config
  readonly clock: Clock
  readonly logger: Logger
  readonly signal: AbortSignal
}

/** How long Redis is waited for: who answers can do without, a trainer can do nothing. */
const [answeringLimitMs, trainingLimitMs] = [10_000, 60_000]
/** A version that has failed begins anew, from its checkpoints, after so long. */
const retryMs = 10_000

/** Throws `VERSION*`, `CONFIG_INVALID`, and the signal's reason. */
export async function joinVersions(context: JoiningContext): Promise<JoinedVersions> {
  const { config, clock, logger, signal } = context
  const { dataDirectory, roles, redis, versions: options } = config.process
  const { only } = options
  const own: { versions?: Versions } = {}
  const isTrainer = roles.includes('trainer')
  const shared: SharedVersions = new SharedVersions({
    redis: redisSettings(redis, 'process.redis'),
    tag: familyTag(config),
    say: () => (own.versions === undefined ? { learning: {} } : sayingOf(own.versions)),
    onList: () => own.versions?.follow(() => narrow(shared.list ?? list)),
    onTrouble: (error) => logger.error({ error: String(error) }, 'versions: trouble with Redis'),
  })
  const narrow = (all: VersionList): VersionList => (only === undefined ? all : alone(all, only))
  let found: 'open' | 'refused' | 'silent'
  try {
    const limitMs = isTrainer ? trainingLimitMs : answeringLimitMs
    found = await shared.open(limitMs, signal)
    if (isTrainer && found === 'silent') {
      const reason = `no answer within ${limitMs} ms`
      throw new ServiceError('VERSIONS_UNAVAILABLE', { reason })
    }
  } catch (error) {
    await shared.stop()
    throw error
  }
  // A trainer that is refused has no lease either, and ends with that reason.
  const list =
    isTrainer && found === 'open'
      ? await registered(shared, context)
      : (shared.list ?? onlyVersion(config, clock.now()))
  return {
    list: narrow(list),
    service: shared,
    all: () => shared.list,
    retryMs,
    keep: (before, change) => shared.change((newest) => apart(change(newest ?? before))),
    // What is on disk is the trainers', and of a version for itself it is looked after elsewhere.
    sweep: (all) =>
      isTrainer && only === undefined ? sweep(dataDirectory, all) : Promise.resolve(),
    learningElsewhere: (version) => shared.learningOf(version),
    missingElsewhere(version, isBack) {
      // The way back is open also where nobody trains what answered before.
      const isTrained = isBack || shared.learningOf(version) !== undefined
      return isTrained ? shared.waitingFor(version) : 'nobody trains it'
    },
    attach: (versions) => (own.versions = versions),
  }
}

/** With this trainer's model in the list. */
async function registered(
  shared: SharedVersions,
  { config, clock, logger }: JoiningContext,
): Promise<VersionList> {
  const { only: name } = config.process.versions
  if (name !== undefined) {
    return shared.change((list) => apart(withTrained(list, config, { name, now: clock.now() })))
  }
  let found = foundVersions(shared.list, config, clock.now())
  if (found.isRefused) return found.list
  const list = await shared.change((newest) => {
    found = foundVersions(newest, config, clock.now())
    return apart(found.list)
  })
  sayAdded(found, logger)
  return list
}

/**
 * Names on disk and in Redis are never given again: what is left there of a version that was
 * removed, and had the same name, may be of another model.
 */
function apart(list: VersionList): VersionList {
  if (list.versions.every((entry) => entry.folder === folderOf(entry))) return list
  return {
    ...list,
    versions: list.versions.map((entry) => ({ ...entry, folder: folderOf(entry) })),
  }
}

const folderOf = ({ folder, name, createdAt }: VersionEntry): string =>
  folder === '' ? '' : `versions/${name}-${createdAt.toString(36)}`

/** As if there were this version alone. Throws `VERSION_UNKNOWN`. */
const alone = (list: VersionList, name: string): VersionList => ({
  primary: name,
  versions: [versionOf(list, name)],
})

function sayingOf({ running, list }: Versions): Saying {
  const trained = running.filter(({ parts }) => parts.trainer?.status !== undefined)
  const learning = Object.fromEntries(
    trained.flatMap((version) =>
      version.learning === undefined ? [] : [[version.name, version.learning]],
    ),
  )
  const isReplica = running.some(({ parts }) => parts.serving !== undefined)
  if (!isReplica) return { learning }
  const waits = list.versions.map((entry) => {
    const version = running.find((one) => one.name === entry.name)
    return [entry.name, version === undefined ? 'it is being started' : (version.missing ?? '')]
  })
  return { learning, replica: { name: processName(), waits: Object.fromEntries(waits) } }
}
