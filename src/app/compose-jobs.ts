/**
 * The periodic jobs: who they ask, and when they run. What a job would ask
 * may be no role of this process: then there is no such job.
 */
import type { Clock } from '../base/clock.ts'
import type { Service } from '../base/service.ts'
import { defineJobs, type ItemExpiry } from '../jobs/jobs.ts'
import type { Scheduler } from '../jobs/scheduler.ts'
import type { Metrics } from '../serving/http/metrics.ts'
import type { ServingService } from '../serving/serving-service.ts'
import type { FileLog } from '../stream/files/file-log.ts'
import type { Config } from './config/config-schema.ts'
import { exportJob } from './export-job.ts'
import { retainFrom } from './retention.ts'
import type { TrainerView } from './service-view.ts'
import type { Shape, TrainerRole } from './shape.ts'
import type { Logger } from './telemetry.ts'
import { lastOffsets, waitFor } from './visibility.ts'

export interface JobParts {
  readonly config: Config
  readonly shape: Shape
  readonly trainer: TrainerRole | undefined
  readonly serving: ServingService | undefined
  readonly view: TrainerView
  readonly metrics: Metrics
  readonly clock: Clock
  readonly logger: Logger
}

export interface Jobs {
  readonly scheduler: Scheduler
  readonly service: Service
}

/** How long `expire` waits for its deletions to be folded, in milliseconds. */
const foldLimitMs = 10_000

export function composeJobs(parts: JobParts): Jobs {
  const { config, clock, shape, trainer, serving, metrics, logger } = parts
  const options = config.process.jobs
  const { fileLog } = shape
  const made = shape.jobs({
    trainer,
    onFinished(run) {
      metrics.countJob(run)
      if (run.state === 'failed') logger.error({ job: run.name, error: run.error }, 'job failed')
      else logger.debug({ job: run.name, ...run.result }, 'job done')
    },
  })
  const { scheduler, commands } = made
  defineJobs(scheduler, {
    clock,
    trainer: commands,
    audit: serving && { audit: (signal) => serving.alignment.audit(signal) },
    expiry: serving && itemExpiry(serving, parts),
    index: serving && {
      rebuild: ({ signal, progress }) => serving.rebuildIndex(signal, progress),
    },
    erasure: serving && { drop: (userId) => dropUser(userId, serving, parts) },
    export: trainer && exportJob(config),
    log: fileLog && { trim: () => trimLog(fileLog, parts) },
  })
  const intervals = {
    restrict: options.restrictMs,
    auditRecall: options.auditRecallMs,
    expire: options.expireMs,
    trimLog: options.trimLogMs,
  }
  for (const [name, intervalMs] of Object.entries(intervals)) {
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

function itemExpiry(serving: ServingService, { shape: { log }, clock }: JobParts): ItemExpiry {
  return {
    expired: (now, limit) =>
      serving.replica.facts.catalogue.expired(now, limit).map(({ id }) => id),
    async remove(itemIds) {
      const now = clock.now()
      const offsets = await log.append(
        itemIds.map((itemId) => ({ kind: 'deleteItem', itemId, timestamp: now, acceptedAt: now })),
      )
      await Promise.all(lastOffsets(offsets).map((offset) => waitFor(serving, offset, foldLimitMs)))
    },
  }
}

async function dropUser(
  userId: string,
  serving: ServingService,
  { shape: { log }, clock }: JobParts,
): Promise<void> {
  const now = clock.now()
  const deletion = { kind: 'deleteUser', userId, timestamp: now, acceptedAt: now } as const
  const offsets = await log.append([deletion])
  await Promise.all(lastOffsets(offsets).map((offset) => waitFor(serving, offset, foldLimitMs)))
}

async function trimLog(
  log: FileLog,
  { view, config, clock }: JobParts,
): Promise<{ removedBytes: number }> {
  const needed = view.status?.retainFrom[0]
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
  return { removedBytes: bytes(before) - bytes(after) }
}
