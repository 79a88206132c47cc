/**
 * The scheduler of one process: timers in memory, nothing to install, nothing kept over a restart.
 * Intervals are counted from `start`; a run that falls due while the last one of its name still
 * runs is left out, not made up for.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { ServiceError } from '../base/errors.ts'
import { backoffMs, failureFrom, failureText, keyedRunId, mayPass } from './job-outcome.ts'
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

/** What wakes the scheduler; a test hands in its own. */
export interface Timers {
  /** Calls `run` once after `delayMs`; the function returned calls it off. */
  after(delayMs: number, run: () => void): () => void
}

/** Timers that keep no process alive. */
export const systemTimers: Timers = {
  after: (delayMs, run) => {
    const timer = setTimeout(run, Math.min(delayMs, 2 ** 31 - 1)).unref()
    return () => clearTimeout(timer)
  },
}

export interface TimerSchedulerOptions {
  readonly clock: Clock
  readonly timers: Timers
  /** Finished runs that `history` remembers. */
  readonly historyRuns: number
  /** Told of every run that ends: for metrics and logs. */
  readonly onFinished?: (run: JobRun) => void
}

interface Job {
  readonly handler: JobHandler
  readonly rules: JobRules
}

interface Running {
  run: JobRun
  /** Whether it waits for another try. */
  isDelayed: boolean
  readonly abort: AbortController
  readonly finished: Promise<JobRun>
}

interface Interval {
  readonly name: string
  readonly intervalMs: number
  readonly payload: JobPayload
  /** By the monotonic clock. */
  dueAt: number
  cancel: () => void
}

/**
 * Invariants: at most one entry of `#running` per name; an interval has a pending timer exactly
 * while the scheduler is started and not stopped.
 */
export class TimerScheduler implements Scheduler {
  readonly #options: TimerSchedulerOptions
  readonly #jobs = new Map<string, Job>()
  readonly #intervals: Interval[] = []
  readonly #running = new Map<string, Running>()
  /** Newest first. */
  #finished: JobRun[] = []
  #state: 'new' | 'started' | 'stopped' = 'new'
  #runs = 0

  constructor(options: TimerSchedulerOptions) {
    assert(options.historyRuns >= 1, 'a scheduler remembers at least one run')
    this.#options = options
  }

  define(name: string, handler: JobHandler, rules: JobRules = {}): void {
    assert(!this.#jobs.has(name), `job ${name} is defined once`)
    this.#jobs.set(name, { handler, rules })
  }

  every(name: string, intervalMs: number, payload: JobPayload): void {
    assert(this.#jobs.has(name), `job ${name} is defined before it is scheduled`)
    assert(intervalMs >= 0, `the interval of job ${name} is 0 or more`)
    if (intervalMs === 0) return
    const interval = { name, intervalMs, payload, dueAt: 0, cancel: () => {} }
    this.#intervals.push(interval)
    if (this.#state === 'started') this.#arm(interval, this.#now() + intervalMs)
  }

  begin(name: string, payload: JobPayload, options: RunOptions = {}): Promise<BegunRun> {
    return Promise.resolve().then(() => this.#beginNow(name, payload, options))
  }

  async run(name: string, payload: JobPayload, options: RunOptions = {}): Promise<JobRun> {
    return this.#beginNow(name, payload, options).finished
  }

  names(): readonly string[] {
    return [...this.#jobs.keys()]
  }

  history(): Promise<readonly JobRun[]> {
    return Promise.resolve(this.#history())
  }

  find(id: string): Promise<JobRun | undefined> {
    return Promise.resolve(this.#history().find((run) => run.id === id))
  }

  async cancel(id: string): Promise<JobRun | undefined> {
    const running = [...this.#running.values()].find(({ run }) => run.id === id)
    running?.abort.abort(new ServiceError('JOB_CANCELLED', { run: id }))
    return this.find(id)
  }

  queues(): readonly JobQueue[] {
    return this.names().map((name) => {
      const delayed = Number(this.#running.get(name)?.isDelayed ?? false)
      return { name, waiting: 0, active: Number(this.#running.has(name)) - delayed, delayed }
    })
  }

  start(): void {
    assert(this.#state === 'new', 'a scheduler starts once')
    this.#state = 'started'
    for (const interval of this.#intervals) this.#arm(interval, this.#now() + interval.intervalMs)
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    for (const interval of this.#intervals) interval.cancel()
    const running = [...this.#running.values()]
    for (const { abort } of running) abort.abort(new ServiceError('SHUTTING_DOWN', {}))
    await Promise.all(running.map(({ finished }) => finished))
  }

  #history(): readonly JobRun[] {
    const underWay = [...this.#running.values()].map(({ run }) => run)
    return [...underWay.toReversed(), ...this.#finished]
  }

  #beginNow(name: string, payload: JobPayload, { key }: RunOptions): BegunRun {
    const job = this.#jobs.get(name)
    if (job === undefined) {
      throw new ServiceError('JOB_UNKNOWN', { name, known: this.names().join(', ') })
    }
    job.rules.check?.(payload)
    if (this.#state === 'stopped') throw new ServiceError('SHUTTING_DOWN', {})
    const id = key === undefined ? undefined : keyedRunId(name, key)
    const ended = this.#finished.find((run) => run.id === id)
    if (ended !== undefined) return { id: ended.id, finished: Promise.resolve(ended) }
    const running = this.#running.get(name)
    if (running === undefined) return this.#launch(name, payload, job, id)
    if (running.run.id === id) return { id, finished: running.finished }
    throw new ServiceError('JOB_BUSY', { name, run: running.run.id })
  }

  #now(): number {
    return this.#options.clock.monotonic()
  }

  #arm(interval: Interval, dueAt: number): void {
    interval.dueAt = dueAt
    const delayMs = Math.max(0, dueAt - this.#now())
    interval.cancel = this.#options.timers.after(delayMs, () => this.#fire(interval))
  }

  #fire(interval: Interval): void {
    const { name, payload, intervalMs } = interval
    const now = this.#now()
    // A timer cut off at its longest delay, or one that came a little early: wait for the rest.
    if (now < interval.dueAt) return this.#arm(interval, interval.dueAt)
    const missed = Math.floor((now - interval.dueAt) / intervalMs)
    this.#arm(interval, interval.dueAt + (missed + 1) * intervalMs)
    const job = this.#jobs.get(name)
    if (job !== undefined && !this.#running.has(name)) this.#launch(name, payload, job)
  }

  /** `finished` never rejects: a job that fails is a run that failed. */
  #launch(name: string, payload: JobPayload, job: Job, givenId?: string): BegunRun {
    this.#runs += 1
    const startedAt = this.#options.clock.now()
    const id = givenId ?? `${name}-${startedAt}-${this.#runs}`
    const abort = new AbortController()
    const run: JobRun = { id, name, payload, state: 'running', progress: 0, startedAt }
    // The handler starts in a later turn, when `running` stands in the map.
    const finished = Promise.resolve().then(() => this.#execute(running, job))
    const running: Running = { run, isDelayed: false, abort, finished }
    this.#running.set(name, running)
    return { id, finished }
  }

  async #execute(running: Running, job: Job): Promise<JobRun> {
    const outcome = await this.#attempt(running, job).then(
      (result) => ({ state: 'done' as const, progress: 1, result }),
      (error: unknown) => ({ state: 'failed' as const, ...failureFrom(failureText(error)) }),
    )
    const run = { ...running.run, ...outcome, finishedAt: this.#options.clock.now() }
    this.#running.delete(run.name)
    this.#finished = [run, ...this.#finished].slice(0, this.#options.historyRuns)
    this.#options.onFinished?.(run)
    return run
  }

  async #attempt(running: Running, { handler, rules }: Job): Promise<JobResult> {
    const { signal } = running.abort
    const { id, payload } = running.run
    const progress = (done: number): void => {
      if (done >= 0) running.run = { ...running.run, progress: Math.min(1, done) }
    }
    for (let retry = 1; ; retry += 1) {
      try {
        return await handler(payload, { run: id, signal, progress })
      } catch (error) {
        if (retry > (rules.retries ?? 0) || !mayPass(error) || signal.aborted) throw error
        running.isDelayed = true
        await this.#pause(backoffMs(rules, retry), signal)
        running.isDelayed = false
      }
    }
  }

  /** Throws the signal's reason. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#options.timers.after(ms, resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    cancel()
    signal.throwIfAborted()
  }
}
