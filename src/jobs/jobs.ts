/**
 * The jobs and what they ask of others. `restrict`, `checkpoint`, `compact` and `rollBack` change
 * the trainer's state or where it lies, so they are commands that it executes between batches;
 * `export` works on a checkpoint; what looks at replicas is in `replica-jobs.ts`. All but
 * `rollBack` are right when they are begun again.
 */
import { checkPayload, oneOf, type PayloadFields } from './payload.ts'
import { defineReplicaJobs, type ReplicaJobDependencies } from './replica-jobs.ts'
import { type RestrictJob, restrictJob } from './restrict-job.ts'
import type { JobContext, JobHandler, JobPayload, JobResult, Scheduler } from './scheduler.ts'

/**
 * Commands to the one trainer; each resolves when it was executed, between two batches. By the
 * run's id a command that is asked again is known.
 */
export interface TrainerCommands {
  /** Names of the tables. */
  readonly tables: readonly string[]
  /** Evicts down to the policy's bound or another: one table, or all; or says what it would. */
  restrict(request: RestrictJob, context: JobContext): Promise<RestrictReport>
  checkpoint(context: JobContext): Promise<CheckpointReport>
  /** Gives memory back that rows have left. */
  compact(context: JobContext): Promise<CompactReport>
  /** Rows and weights are again those of a checkpoint, by its name. */
  rollBack(to: number, context: JobContext): Promise<RollBackReport>
}

export interface RollBackReport {
  /** Name of the checkpoint. */
  readonly to: string
}

export interface CompactReport {
  /** Steps that moved rows. */
  readonly steps: number
  /** Of all tables: in use, and held for them. */
  readonly rows: number
  readonly bytes: number
}

export interface RestrictReport {
  /** Whether nothing has been changed. */
  readonly dryRun: boolean
  /** Rows evicted, or that would be. */
  readonly removed: number
  /** Rows left. */
  readonly rows: number
  /** For each table the same and, of a dry run, which rows they are. */
  readonly tables: readonly JobResult[]
}

export interface CheckpointReport {
  /** Name of the checkpoint, as `inspect` takes it. */
  readonly name: string
  /** Steps taken by the model in it. */
  readonly modelVersion: number
  readonly bytes: number
}

export interface ExportRequest {
  /** Absent: every table. */
  readonly table?: string
  readonly format: ExportFormat
}
const exportFormats = ['ndjson', 'npy'] as const
type ExportFormat = (typeof exportFormats)[number]

export interface TableExport {
  readonly tables: readonly string[]
  /** Rows of the newest checkpoint, to files. */
  write(request: ExportRequest, context: JobContext): Promise<JobResult>
}

interface LogUpkeep {
  /** Removes what nobody needs any more. */
  trim(): Promise<{ readonly removedBytes: number }>
}

export interface JobDependencies {
  readonly trainer: TrainerCommands | undefined
  readonly replicas: ReplicaJobDependencies | undefined
  readonly export?: TableExport | undefined
  readonly log?: LogUpkeep | undefined
}

/** A run is begun again where its process was lost, or after an error that may pass. */
const safe = { retries: 3, backoffMs: 1_000 }

/**
 * Declares every job that has somebody to ask; when they run is the caller's to say, with
 * `scheduler.every`.
 */
export function defineJobs(scheduler: Scheduler, dependencies: JobDependencies): void {
  const { trainer, replicas } = dependencies
  if (trainer !== undefined) defineTrainerJobs(scheduler, trainer)
  if (replicas !== undefined) defineReplicaJobs(scheduler, replicas, safe)
  defineUpkeepJobs(scheduler, dependencies)
}

/** What takes no payload. */
const nothing = (payload: JobPayload): void => checkPayload(payload, {})

function defineUpkeepJobs(scheduler: Scheduler, dependencies: JobDependencies): void {
  const { export: tables, log, trainer } = dependencies
  if (log !== undefined) {
    const handler: JobHandler = async () => ({ ...(await log.trim()) })
    scheduler.define('trimLog', handler, { ...safe, check: nothing })
  }
  if (log !== undefined || trainer !== undefined) {
    const handler: JobHandler = (_, context) => compact(dependencies, context)
    scheduler.define('compact', handler, { ...safe, check: nothing })
  }
  if (tables !== undefined) {
    const fields: PayloadFields = { table: oneOf(tables.tables), format: oneOf(exportFormats) }
    const handler: JobHandler = ({ table, format }, context) => {
      const request = { format: exportFormats.find((known) => known === format) ?? 'ndjson' }
      return tables.write(
        { ...request, ...(table !== undefined && { table: `${table}` }) },
        context,
      )
    }
    const check = (payload: JobPayload): void => checkPayload(payload, fields)
    scheduler.define('export', handler, { ...safe, check })
  }
}

/** A number, or the name as lists of checkpoints have it. */
const isCheckpoint = (value: unknown): boolean =>
  typeof value === 'string'
    ? /^\d{1,15}$/.test(value)
    : Number.isSafeInteger(value) && Number(value) >= 0

const rollBackFields: PayloadFields = {
  to: (value) =>
    isCheckpoint(value) ? undefined : 'expected the name of a checkpoint, a whole number',
}

const checkRollBack = (payload: JobPayload): void =>
  checkPayload({ ...payload, to: payload['to'] ?? '' }, rollBackFields)

/** Not begun again by itself: what has been learned since would be lost once more. */
function defineRollBack(scheduler: Scheduler, trainer: TrainerCommands): void {
  const handler: JobHandler = async ({ to }, context) => ({
    to: (await trainer.rollBack(Number(to), context)).to,
  })
  scheduler.define('rollBack', handler, { retries: 0, backoffMs: 0, check: checkRollBack })
}

/** Of what there is here: the tables of the trainer, the log. */
async function compact({ trainer, log }: JobDependencies, context: JobContext): Promise<JobResult> {
  const tables = trainer && (await trainer.compact(context))
  context.progress(0.5)
  const trimmed = await log?.trim()
  return {
    ...(tables && { steps: tables.steps, rows: tables.rows, bytes: tables.bytes }),
    ...trimmed,
  }
}

function defineTrainerJobs(scheduler: Scheduler, trainer: TrainerCommands): void {
  const parse = (payload: JobPayload): RestrictJob => restrictJob(payload, trainer.tables)
  scheduler.define(
    'restrict',
    async (payload, context) => {
      const { dryRun, removed, rows, tables } = await trainer.restrict(parse(payload), context)
      return { dryRun, removed, rows, tables }
    },
    { ...safe, check: parse },
  )
  const checkpoint: JobHandler = async (_, context) => {
    const { name, modelVersion, bytes } = await trainer.checkpoint(context)
    return { name, modelVersion, bytes }
  }
  scheduler.define('checkpoint', checkpoint, { ...safe, check: nothing })
  defineRollBack(scheduler, trainer)
}
