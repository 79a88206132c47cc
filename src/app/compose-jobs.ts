/**
 * The periodic jobs: who they ask, and when they run. Where what a job would ask cannot be had from
 * this process there is no such job.
 */
import type { Clock } from '../base/clock.ts'
import type { Service } from '../base/service.ts'
import { defineJobs } from '../jobs/jobs.ts'
import type { Deletions } from '../jobs/replica-jobs.ts'
import type { Scheduler } from '../jobs/scheduler.ts'
import type { Metrics } from '../serving/http/metrics.ts'
import type { ServingRole } from '../serving/serving-service.ts'
import type { EventLog } from '../stream/event-log.ts'
import type { Event } from '../stream/event.ts'
import type { FileLog } from '../stream/files/file-log.ts'
import { joinOffsets } from '../stream/written-offsets.ts'
import type { Config } from './config/config-schema.ts'
import { retainFrom } from './retention.ts'
import type { TrainerView } from './service-view.ts'
import type { Shape, TrainerRole } from './shape.ts'
import type { Logger } from './telemetry.ts'

export interface JobParts {
  readonly config: Config
  /** Of the version of the model that answers now. */
  readonly current: () => Config
  readonly shape: Shape
  readonly trainer: TrainerRole | undefined
  readonly serving: ServingRole | undefined
  readonly view: TrainerView
  /** Nothing of the log from this offset on may be removed; undefined: nothing at all. */
  readonly neededFrom: () => string | undefined
  readonly metrics: Metrics
  readonly clock: Clock
  readonly logger: Logger
}

export interface Jobs {
  readonly scheduler: Scheduler
  readonly service: Service
}

export function composeJobs(parts: JobParts): Jobs {
  const { config, clock, shape, trainer, serving, metrics, logger } = parts
  const options = config.process.jobs
  const { fileLog } = shape
  const made = shape.jobs({
    trainer,
    serving,
    config: parts.current,
    onFinished(run) {
      metrics.countJob(run)
      if (run.state === 'failed') logger.error({ job: run.name, error: run.error }, 'job failed')
      else logger.debug({ job: run.name, ...run.result }, 'job done')
    },
  })
  const { scheduler, commands, replicas } = made
  defineJobs(scheduler, {
    trainer: commands,
    replicas: replicas && {
      replicas,
      deletions: deletionsTo(shape.log, clock),
      recallFloor: options.recallFloor,
    },
    export: made.export,
    log: fileLog && { trim: () => trimLog(fileLog, parts) },
  })
  for (const [name, intervalMs] of Object.entries(intervalsOf(options))) {
    if (scheduler.names().includes(name)) scheduler.every(name, intervalMs, {})
  }
  return { scheduler, service: jobService(scheduler, () => made.close()) }
}

const jobService = (scheduler: Scheduler, stop: () => Promise<void>): Service => ({
  name: 'jobs',
  start() {
    scheduler.start()
    return Promise.resolve()
  },
  drain: () => scheduler.stop(),
  stop,
})

/** What has no interval is run on request only. */
const intervalsOf = (options: Config['process']['jobs']) => ({
  restrict: options.restrictMs,
  compact: options.compactMs,
  checkpoint: options.checkpointMs,
  rebuildIndex: options.rebuildIndexMs,
  auditRecall: options.auditRecallMs,
  expire: options.expireMs,
  export: options.exportMs,
  trimLog: options.trimLogMs,
})

const deletionsTo = (log: EventLog, clock: Clock): Deletions => {
  const append = async (events: (now: number) => readonly Event[]) =>
    joinOffsets(await log.append(events(clock.now()))) ?? ''
  return {
    items: (itemIds) =>
      append((now) =>
        itemIds.map((itemId) => ({ kind: 'deleteItem', itemId, timestamp: now, acceptedAt: now })),
      ),
    user: (userId) =>
      append((now) => [{ kind: 'deleteUser', userId, timestamp: now, acceptedAt: now }]),
  }
}

async function trimLog(
  log: FileLog,
  { view, neededFrom, config, clock }: JobParts,
): Promise<{ removedBytes: number }> {
  const needed = neededFrom()
  const before = await log.segments()
  const offset = retainFrom(before, config.process.log, {
    now: clock.now(),
    needed: needed === undefined ? undefined : Number(needed),
  })
  await log.truncateBefore(String(offset))
  const after = await log.segments()
  const bytes = (segments: typeof before): number =>
    segments.reduce((sum, segment) => sum + segment.bytes, 0)
  view.logBytes = bytes(after)
  // The last segment may have grown meanwhile.
  const kept = new Set(after.map(({ first }) => first))
  return { removedBytes: bytes(before.filter(({ first }) => !kept.has(first))) }
}
