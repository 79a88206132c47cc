/**
 * The jobs that look at what answers: `auditRecall` and `rebuildIndex` at the live index of every
 * replica, `expire` at the facts of one, `dropUser` at all once the deletion is in the log. A
 * replica may be of this process or of another; one that does not answer is left out, as long as
 * another one does.
 */
import { ServiceError } from '../base/errors.ts'
import { checkPayload, type PayloadFields } from './payload.ts'
import type { JobContext, JobPayload, JobResult, JobRules, Scheduler } from './scheduler.ts'

export interface RecallReport {
  readonly recall10: number
  readonly recall100: number
  /** Recall@10 against exact search over the same vectors. */
  readonly structure10: number
  /** Queries asked, of how many indexed items. */
  readonly queries: number
  readonly items: number
}

/** What a replica does for jobs, wherever it is; `COMMAND_UNANSWERED` where it is gone. */
export interface ReplicaCommands {
  readonly name: string
  /** Compares the live index with exact search under the current parameters. */
  audit(context: JobContext): Promise<RecallReport>
  /** Every item embedded anew and the structure made anew, while the old one answers. */
  rebuild(context: JobContext): Promise<{ readonly items: number }>
  /** Ids of at most `limit` items whose `expiresAt` is not after the present. */
  expired(limit: number, context: JobContext): Promise<readonly string[]>
  /** Whether it has folded what was written there, waited for within bounds. */
  folded(written: string, context: JobContext): Promise<boolean>
}

/** Appends deletions to the log, as any client would; where they stand. */
export interface Deletions {
  items(itemIds: readonly string[]): Promise<string>
  user(userId: string): Promise<string>
}

export interface ReplicaJobDependencies {
  /** Those that there are now. */
  readonly replicas: (signal: AbortSignal) => Promise<readonly ReplicaCommands[]>
  readonly deletions: Deletions
  /**
   * An audit that finds less recall@10, of answers and of the structure alone, begins
   * `rebuildIndex`: vectors that are old while towers learn are no reason. 0: never.
   */
  readonly recallFloor: number
}

/** Items per append, and per run: the next run goes on where one stops. */
const expireChunk = 1_000
const expireMaximum = 100_000

const text =
  (what: string) =>
  (value: unknown): string | undefined =>
    typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= 256
      ? undefined
      : `expected ${what}, 1 to 256 bytes`

const userFields: PayloadFields = { userId: text('the id of a user') }
const replicaFields: PayloadFields = { replica: text('the name of a replica') }

/** What takes no payload. */
const nothing = (payload: JobPayload): void => checkPayload(payload, {})

export function defineReplicaJobs(
  scheduler: Scheduler,
  dependencies: ReplicaJobDependencies,
  rules: JobRules,
): void {
  const audit = (_: JobPayload, context: JobContext): Promise<JobResult> =>
    auditRecall(scheduler, dependencies, context)
  scheduler.define('auditRecall', audit, { ...rules, check: nothing })
  scheduler.define('expire', (_, context) => expire(dependencies, context), {
    ...rules,
    check: nothing,
  })
  scheduler.define('rebuildIndex', (payload, context) => rebuild(dependencies, payload, context), {
    ...rules,
    check: (payload) => checkPayload(payload, replicaFields),
  })
  scheduler.define('dropUser', (payload, context) => dropUser(dependencies, payload, context), {
    ...rules,
    check: (payload) => checkPayload({ userId: '', ...payload }, userFields),
  })
}

/** The lowest recall of any replica. */
async function auditRecall(
  scheduler: Scheduler,
  { replicas, recallFloor }: ReplicaJobDependencies,
  context: JobContext,
): Promise<JobResult> {
  const reports = await everyOf(await replicas(context.signal), (replica) => replica.audit(context))
  const low = reports.filter(
    ({ answer: { recall10, structure10 } }) => Math.max(recall10, structure10) < recallFloor,
  )
  if (low.length > 0) await beginRebuild(scheduler, low.length === 1 ? low[0].replica.name : '')
  const all = reports.map(({ answer }) => answer)
  return {
    recall10: Math.min(...all.map(({ recall10 }) => recall10)),
    recall100: Math.min(...all.map(({ recall100 }) => recall100)),
    structure10: Math.min(...all.map(({ structure10 }) => structure10)),
    queries: all.reduce((sum, { queries }) => sum + queries, 0),
    items: Math.max(...all.map(({ items }) => items)),
    replicas: all.length,
    belowFloor: low.length,
  }
}

/** Of one replica, or of all; nothing where one is under way. */
async function beginRebuild(scheduler: Scheduler, replica: string): Promise<void> {
  try {
    await scheduler.begin('rebuildIndex', replica === '' ? {} : { replica })
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'JOB_BUSY') throw error
  }
}

/** One replica after the other: the others answer at full speed meanwhile. */
async function rebuild(
  { replicas }: ReplicaJobDependencies,
  { replica: wanted }: JobPayload,
  context: JobContext,
): Promise<JobResult> {
  const all = await replicas(context.signal)
  const chosen = all.filter(({ name }) => wanted === undefined || name === wanted)
  if (chosen.length === 0) throw new ServiceError('REPLICA_ABSENT', { replica: String(wanted) })
  let items = 0
  let done = 0
  let failure: unknown
  for (const replica of chosen) {
    context.signal.throwIfAborted()
    const place = done
    const progress = (part: number): void => context.progress((place + part) / chosen.length)
    try {
      const rebuilt = await replica.rebuild({ ...context, progress })
      items = Math.max(items, rebuilt.items)
      done += 1
    } catch (error) {
      if (!isSilence(error)) throw error
      failure = error
    }
  }
  if (done === 0) throw failure
  return { items, replicas: done }
}

/**
 * An item whose expiry is moved by a write that is in the log but not yet folded there is deleted
 * all the same: the deletion stands after the write. The window is the lag of the facts,
 * milliseconds.
 */
async function expire(
  { replicas, deletions }: ReplicaJobDependencies,
  context: JobContext,
): Promise<JobResult> {
  const { signal, progress } = context
  let removed = 0
  while (removed < expireMaximum) {
    signal.throwIfAborted()
    const limit = Math.min(expireChunk, expireMaximum - removed)
    const { replica, answer } = await firstOf(await replicas(context.signal), (one) =>
      one.expired(limit, context),
    )
    if (answer.length === 0) break
    // Else the next look would find the same ones.
    if (!(await replica.folded(await deletions.items(answer), context))) {
      throw new ServiceError('REPLICA_BEHIND', { replica: replica.name })
    }
    removed += answer.length
    progress(removed / expireMaximum)
  }
  return { removed }
}

/** Done when the deletion is in the log; how many replicas showed it in time is told. */
async function dropUser(
  { replicas, deletions }: ReplicaJobDependencies,
  { userId }: JobPayload,
  context: JobContext,
): Promise<JobResult> {
  const written = await deletions.user(String(userId))
  const all = await replicas(context.signal)
  if (all.length === 0) return { dropped: true, replicas: 0 }
  const folded = await everyOf(all, (replica) => replica.folded(written, context))
  return { dropped: true, replicas: folded.filter(({ answer }) => answer).length }
}

interface Answered<Answer> {
  readonly replica: ReplicaCommands
  readonly answer: Answer
}

type Ask<Answer> = (replica: ReplicaCommands) => Promise<Answer>

/** At the same time; those that answer. Throws where none does, and what else goes wrong. */
async function everyOf<Answer>(
  replicas: readonly ReplicaCommands[],
  ask: Ask<Answer>,
): Promise<readonly Answered<Answer>[]> {
  if (replicas.length === 0) throw new ServiceError('REPLICA_ABSENT', { replica: 'any' })
  const outcomes = await Promise.allSettled(replicas.map((replica) => ask(replica)))
  const failed = outcomes.filter((outcome) => outcome.status === 'rejected')
  const fatal = failed.find(({ reason }) => !isSilence(reason)) ?? failed[replicas.length - 1]
  if (fatal !== undefined) throw fatal.reason
  return outcomes.flatMap((outcome, i) =>
    outcome.status === 'fulfilled' ? [{ replica: replicas[i], answer: outcome.value }] : [],
  )
}

/** Of the first that answers. */
async function firstOf<Answer>(
  replicas: readonly ReplicaCommands[],
  ask: Ask<Answer>,
): Promise<Answered<Answer>> {
  let failure: unknown = new ServiceError('REPLICA_ABSENT', { replica: 'any' })
  for (const replica of replicas) {
    try {
      return { replica, answer: await ask(replica) }
    } catch (error) {
      if (!isSilence(error)) throw error
      failure = error
    }
  }
  throw failure
}

/** It may have been lost; others may be there. */
const isSilence = (error: unknown): boolean =>
  error instanceof ServiceError && error.code === 'COMMAND_UNANSWERED'
