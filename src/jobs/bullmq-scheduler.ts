/**
 * The scheduler of many processes, on BullMQ and Redis 6.2 or later. A queue of each name holds its
 * runs; whoever has defined the job works on them. That one run of a name is under way at a time,
 * in whatever process, is BullMQ's deduplication: a run holds the name until it has ended. What
 * falls due at an interval is a tick in a queue of its own, which only asks for a run, as anybody
 * may: so a tick that finds a run under way is left out, and a job that takes long never holds up
 * the beat of the others.
 *
 * A run whose process is lost (its lock is not renewed) goes to another process if the job says
 * that it may be begun again, and has failed otherwise. A process that was only slow hears of that
 * by its signal. What must happen once whatever happens goes by the run's id.
 *
 * The only file that knows BullMQ.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'

import { type Job, type JobsOptions, Queue, UnrecoverableError, Worker } from 'bullmq'

import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import { connectPatiently, type RedisSettings } from '../redis/redis-connection.ts'
import { Cancellations } from './cancellations.ts'
import { backoffMs, failureFrom, failureText, keyedRunId, mayPass } from './job-outcome.ts'
import { ProgressWriter } from './progress-writer.ts'
import type {
  BegunRun,
  JobHandler,
  JobPayload,
  JobQueue,
  JobResult,
  JobRules,
  JobRun,
  RunOptions,
  Scheduler,
} from './scheduler.ts'

export interface BullMqSchedulerOptions {
  readonly clock: Clock
  readonly redis: RedisSettings
  /** Schedulers of one tag share jobs and history: one tag for each model. */
  readonly tag: string
  /** What runs say of who has them. */
  readonly process?: string
  /** Finished runs of each name that are kept: of those done, and of those failed. */
  readonly historyRuns: number
  /** Told of every run that ends in this process: for metrics and logs. */
  readonly onFinished?: (run: JobRun) => void
  /** Told of what is wrong with the connection; it is made anew by itself. */
  readonly onError?: (error: Error) => void
  readonly limits?: Partial<BullMqLimits>
}

export interface BullMqLimits {
  /** A process that says nothing for so long has lost its run. */
  readonly lockMs: number
  /** From look to look for lost runs. */
  readonly stalledMs: number
  /** Until Redis must have taken a run, and a stop must have ended. */
  readonly answerMs: number
  /**
   * From look to look whether the intervals stand in Redis, which may have lost them, and how many
   * runs wait.
   */
  readonly superviseMs: number
}

const defaultLimits: BullMqLimits = {
  lockMs: 15_000,
  stalledMs: 5_000,
  answerMs: 5_000,
  superviseMs: 10_000,
}

/** From look to look whether a run has ended: from the first, growing, to the last. */
const [shortestLookMs, longestLookMs] = [5, 200]
const ticksQueue = 'ticks'
const unfinished = ['active', 'waiting', 'delayed', 'prioritized'] as const

/** What stands in Redis of a run to be made. */
interface Tick {
  readonly name: string
  readonly payload: JobPayload
  readonly retries: number
  readonly backoffMs: number
}

/** Data and result are what this file has written there; nobody else has the prefix. */
type RunJob = Job<JobPayload, JobResult>

interface Defined {
  readonly handler: JobHandler | undefined
  readonly rules: JobRules
}

/**
 * Invariant: `#underWay` has an entry for each handler at work in this process; workers exist
 * exactly while the scheduler is started and not stopped.
 */
export class BullMqScheduler implements Scheduler {
  readonly #options: BullMqSchedulerOptions
  readonly #limits: BullMqLimits
  readonly #client: ReturnType<typeof connectPatiently>
  readonly #jobs = new Map<string, Defined>()
  readonly #intervals = new Map<string, { intervalMs: number; payload: JobPayload }>()
  readonly #queues = new Map<string, Queue<JobPayload, JobResult>>()
  readonly #ticks: Queue<Tick>
  readonly #cancellations: Cancellations
  readonly #workers: Worker[] = []
  readonly #underWay = new Map<string, { abort: AbortController; ended: Promise<unknown> }>()
  readonly #waiting = new Set<Promise<unknown>>()
  readonly #stopping = new AbortController()
  #state: 'new' | 'started' | 'stopped' = 'new'
  #supervision: Promise<void> = Promise.resolve()
  /** As of the last look. */
  #depths: readonly JobQueue[] = []

  constructor(options: BullMqSchedulerOptions) {
    assert(options.historyRuns >= 1, 'a scheduler remembers at least one run')
    this.#options = options
    this.#limits = { ...defaultLimits, ...options.limits }
    this.#client = connectPatiently(options.redis)
    this.#client.on('error', this.#onError)
    this.#ticks = this.#openQueue<Tick>(ticksQueue)
    this.#cancellations = new Cancellations(this.#client, this.#connection().prefix)
  }

  define(name: string, handler: JobHandler, rules: JobRules = {}): void {
    this.#add(name, { handler, rules })
  }

  /** A job that other processes do: it may be run and looked at from here. */
  declare(name: string, rules: JobRules = {}): void {
    this.#add(name, { handler: undefined, rules })
  }

  every(name: string, intervalMs: number, payload: JobPayload): void {
    assert(this.#jobs.has(name), `job ${name} is defined before it is scheduled`)
    assert(intervalMs >= 0, `the interval of job ${name} is 0 or more`)
    this.#intervals.set(name, { intervalMs, payload })
    if (this.#state === 'started') void this.#supervise().catch(this.#onError)
  }

  async begin(name: string, payload: JobPayload, { key }: RunOptions = {}): Promise<BegunRun> {
    const job = this.#jobs.get(name)
    if (job === undefined) {
      throw new ServiceError('JOB_UNKNOWN', { name, known: this.names().join(', ') })
    }
    job.rules.check?.(payload)
    if (this.#state === 'stopped') throw new ServiceError('SHUTTING_DOWN', {})
    const id = key === undefined ? `${name}-${randomUUID()}` : keyedRunId(name, key)
    const held = await this.#answered(this.#ask(id, tickOf(name, payload, job.rules)))
    if (held !== id) throw new ServiceError('JOB_BUSY', { name, run: held })
    const finished = this.#finished(id, name)
    this.#waiting.add(finished)
    // Who does not wait for it does not want to hear of it.
    finished.catch(() => undefined).finally(() => this.#waiting.delete(finished))
    return { id, finished }
  }

  async run(name: string, payload: JobPayload, options: RunOptions = {}): Promise<JobRun> {
    const { finished } = await this.begin(name, payload, options)
    return finished
  }

  names(): readonly string[] {
    return [...this.#jobs.keys()]
  }

  async history(): Promise<readonly JobRun[]> {
    const { historyRuns } = this.#options
    const all = await this.#answered(Promise.all(this.names().map((name) => this.#runs(name))))
    return all
      .flat()
      .toSorted((a, b) => order(b) - order(a))
      .slice(0, historyRuns + all.length)
  }

  async find(id: string): Promise<JobRun | undefined> {
    const name = this.names().find((known) => id.startsWith(`${known}-`))
    return name === undefined ? undefined : this.#answered(this.#look(id, name))
  }

  async cancel(id: string): Promise<JobRun | undefined> {
    const found = await this.find(id)
    if (found?.state !== 'running') return found
    await this.#answered(this.#cancellations.mark(id))
    const job = await this.#answered(this.#queue(found.name).getJob(id))
    // One that waits for another try is taken up at once, and given up.
    await this.#answered(job?.promote() ?? Promise.resolve()).catch(() => undefined)
    return this.find(id)
  }

  queues(): readonly JobQueue[] {
    return this.#depths
  }

  start(): void {
    assert(this.#state === 'new', 'a scheduler starts once')
    this.#state = 'started'
    for (const [name, job] of this.#jobs) this.#work(name, job)
    this.#openWorker<Tick>(ticksQueue, (job) => this.#tick(job), { retries: 10, concurrency: 4 })
    this.#supervision = this.#superviseForEver()
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    const reason = new ServiceError('SHUTTING_DOWN', {})
    const closed = this.#workers.map((worker) => worker.close())
    for (const { abort } of this.#underWay.values()) abort.abort(reason)
    await Promise.all([...this.#underWay.values()].map(({ ended }) => ended))
    // Without Redis nobody hears how the runs ended: then their locks run out.
    await this.#inTime(Promise.allSettled(closed))
    this.#stopping.abort(reason)
    await this.#inTime(Promise.allSettled([...this.#waiting, this.#supervision]))
    const queues = [this.#ticks, ...this.#queues.values()]
    const ends = [...this.#workers.map((worker) => worker.close(true)), ...queues.map(closeQueue)]
    await this.#inTime(Promise.allSettled(ends))
    this.#client.disconnect()
  }

  readonly #onError = (error: Error): void => {
    if (this.#state !== 'stopped') this.#options.onError?.(error)
  }

  #add(name: string, job: Defined): void {
    assert(!this.#jobs.has(name), `job ${name} is defined once`)
    assert(name !== ticksQueue, `no job has the name ${ticksQueue}`)
    this.#jobs.set(name, job)
    if (this.#state === 'started') this.#work(name, job)
  }

  #connection() {
    // All keys in one hash slot, as the scripts of BullMQ need it in a cluster.
    return { connection: this.#client, prefix: `{freshet:${this.#options.tag}}:jobs` }
  }

  #openQueue<Data>(name: string): Queue<Data, JobResult, string, Data, JobResult, string> {
    const queue = new Queue<Data, JobResult, string, Data, JobResult, string>(
      name,
      this.#connection(),
    )
    queue.on('error', this.#onError)
    return queue
  }

  #queue(name: string): Queue<JobPayload, JobResult> {
    const queue = this.#queues.get(name) ?? this.#openQueue<JobPayload>(name)
    this.#queues.set(name, queue)
    return queue
  }

  #openWorker<Data>(
    name: string,
    work: (job: Job<Data, JobResult>) => Promise<JobResult>,
    { retries, concurrency }: { readonly retries: number; readonly concurrency: number },
  ): Worker<Data, JobResult> {
    const { lockMs, stalledMs } = this.#limits
    const { process } = this.#options
    const worker = new Worker<Data, JobResult>(name, work, {
      ...this.#connection(),
      ...(process !== undefined && { name: process }),
      concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledMs,
      maxStalledCount: retries,
    })
    worker.on('error', this.#onError)
    this.#workers.push(worker)
    return worker
  }

  #work(name: string, { handler, rules }: Defined): void {
    if (handler === undefined) return
    const limits = { retries: rules.retries ?? 0, concurrency: 1 }
    const worker = this.#openWorker<JobPayload>(
      name,
      (job) => this.#execute(job, handler, rules),
      limits,
    )
    worker.on('lockRenewalFailed', (ids) => {
      const lost = new ServiceError('JOB_RUN_UNKNOWN', { run: ids.join(', ') })
      for (const id of ids) this.#underWay.get(id)?.abort.abort(lost)
    })
    const tell = (job: RunJob | undefined): void => {
      if (job?.finishedOn !== undefined) this.#options.onFinished?.(runOf(job, name))
    }
    worker.on('completed', tell)
    worker.on('failed', tell)
  }

  async #execute(job: RunJob, handler: JobHandler, rules: JobRules): Promise<JobResult> {
    const id = String(job.id)
    const abort = new AbortController()
    const { signal } = abort
    if (this.#state === 'stopped') abort.abort(new ServiceError('SHUTTING_DOWN', {}))
    const writer = new ProgressWriter((done) => job.updateProgress(done))
    const context = { run: id, signal, progress: (done: number) => writer.report(done) }
    const work = Promise.resolve().then(async () => {
      await this.#cancellations.look(id, abort)
      signal.throwIfAborted()
      return handler(job.data, context)
    })
    const ended = work.catch(() => undefined)
    const unwatch = this.#cancellations.watch(id, abort)
    this.#underWay.set(id, { abort, ended })
    try {
      return await work
    } catch (error) {
      const text = failureText(error)
      const retries = rules.retries ?? 0
      if (job.attemptsMade < retries && mayPass(error)) throw plainError(text, error)
      throw new UnrecoverableError(text)
    } finally {
      unwatch()
      writer.close()
      this.#underWay.delete(id)
    }
  }

  /** Asks for a run under the id; resolves with the id of the run that holds the name then. */
  async #ask(id: string, { name, payload, retries, backoffMs: delay }: Tick): Promise<string> {
    const { historyRuns: count } = this.#options
    const options: JobsOptions = {
      jobId: id,
      deduplication: { id: name },
      attempts: retries + 1,
      backoff: { type: 'exponential', delay, jitter: 0.5 },
      removeOnComplete: { count },
      removeOnFail: { count },
    }
    const queue = this.#queue(name)
    // One that was has its id still; without this the name's holder would hide it.
    if ((await queue.getJob(id)) !== undefined) return id
    const held = await queue.add(name, payload, options)
    return String(held.id)
  }

  async #tick({ id, data }: Job<Tick, JobResult>): Promise<JobResult> {
    // A tick that is delivered again asks for the same run.
    await this.#ask(`${data.name}-${String(id).split(':').at(-1)}`, data)
    return {}
  }

  async #superviseForEver(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await this.#supervise().catch(this.#onError)
      await this.#count().catch(this.#onError)
      await sleep(this.#limits.superviseMs, undefined, { signal, ref: false }).catch(
        () => undefined,
      )
    }
  }

  /** What the intervals are in Redis is what they are here; nothing is touched that is so. */
  async #supervise(): Promise<void> {
    for (const [name, { intervalMs: every, payload }] of this.#intervals) {
      const found = await this.#ticks.getJobScheduler(name)
      if (every === 0) {
        if (found !== undefined) await this.#ticks.removeJobScheduler(name)
        continue
      }
      const data = tickOf(name, payload, this.#jobs.get(name)?.rules ?? {})
      const isSo = found?.every === every && isDeepStrictEqual(found.template?.data, data)
      if (isSo) continue
      const startDate = this.#options.clock.now() + every
      const opts = { attempts: 3, removeOnComplete: true, removeOnFail: { count: 10 } }
      await this.#ticks.upsertJobScheduler(name, { every, startDate }, { name, data, opts })
    }
  }

  async #count(): Promise<void> {
    this.#depths = await Promise.all(
      this.names().map(async (name) => {
        const counts = await this.#queue(name).getJobCounts(...unfinished)
        const { active = 0, waiting = 0, prioritized = 0, delayed = 0 } = counts
        return { name, active, waiting: waiting + prioritized, delayed }
      }),
    )
  }

  async #finished(id: string, name: string): Promise<JobRun> {
    const { signal } = this.#stopping
    for (let lookMs = shortestLookMs; ; lookMs = Math.min(longestLookMs, 1.5 * lookMs)) {
      const run = await this.#look(id, name)
      if (run === undefined) throw new ServiceError('JOB_RUN_UNKNOWN', { run: id })
      if (run.state !== 'running') return run
      signal.throwIfAborted()
      await sleep(lookMs, undefined, { signal }).catch(() => undefined)
    }
  }

  async #look(id: string, name: string): Promise<JobRun | undefined> {
    const job = await this.#queue(name).getJob(id)
    return job === undefined ? undefined : runOf(job, name)
  }

  async #runs(name: string): Promise<JobRun[]> {
    const { historyRuns } = this.#options
    const queue = this.#queue(name)
    const states = [...unfinished, 'completed', 'failed'] as const
    const found = await queue.getJobs([...states], 0, historyRuns - 1)
    // One that is removed meanwhile is found as nothing.
    return found.filter((job) => job as unknown).map((job) => runOf(job, name))
  }

  /** Rejects with `JOBS_UNAVAILABLE` when Redis does not answer in time. */
  async #answered<Value>(value: Promise<Value>): Promise<Value> {
    const late = Symbol('late')
    const timer = new AbortController()
    const limit = sleep(this.#limits.answerMs, late, { signal: timer.signal }).catch(() => late)
    try {
      const answer = await Promise.race([value, limit])
      if (typeof answer !== 'symbol') return answer
    } catch (error) {
      if (error instanceof ServiceError) throw error
      throw this.#unavailable(String(error))
    } finally {
      timer.abort()
    }
    value.catch(() => undefined)
    throw this.#unavailable(`no answer within ${this.#limits.answerMs} ms`)
  }

  #unavailable(reason: string): ServiceError {
    const { addresses } = this.#options.redis
    const servers = addresses.map(({ host, port }) => `${host}:${port}`).join(', ')
    return new ServiceError('JOBS_UNAVAILABLE', { servers, reason })
  }

  async #inTime(ends: Promise<unknown>): Promise<void> {
    const timer = new AbortController()
    const { signal } = timer
    const limit = sleep(this.#limits.answerMs, undefined, { signal }).catch(() => undefined)
    await Promise.race([ends, limit])
    timer.abort()
  }
}

const tickOf = (name: string, payload: JobPayload, rules: JobRules): Tick => ({
  name,
  payload,
  retries: rules.retries ?? 0,
  backoffMs: backoffMs(rules, 1),
})

const closeQueue = (queue: { close(): Promise<void> }): Promise<void> => queue.close()

/** Of which BullMQ keeps the message alone. */
const plainError = (message: string, cause: unknown): Error => new Error(message, { cause })

/** When it was begun; one that ended stands where it began. */
const order = ({ startedAt }: JobRun): number => startedAt

function runOf(job: RunJob, name: string): JobRun {
  const { id = '', data: payload, processedOn, timestamp, finishedOn, returnvalue } = job
  const startedAt = processedOn ?? timestamp
  const { processedBy: by } = job
  const begun = { id, name, payload, startedAt, ...(by !== undefined && { by }) }
  const progress = typeof job.progress === 'number' ? job.progress : 0
  if (finishedOn === undefined) return { ...begun, state: 'running', progress }
  const ended = { ...begun, finishedAt: finishedOn }
  // A handler's result is an object; without one BullMQ has null.
  const result = returnvalue as JobResult | null | undefined
  if (result !== null && result !== undefined) {
    return { ...ended, state: 'done', progress: 1, result }
  }
  return { ...ended, state: 'failed', progress, ...failureFrom(job.failedReason ?? 'no reason') }
}
