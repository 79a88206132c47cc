/**
 * Runs named jobs at intervals and on request. A job that changes live state is a *command* that
 * its owner executes between batches; a job that does not works on a snapshot. Adapters: `timer-
 * scheduler` in one process, `bullmq-scheduler` over many.
 */
export type JobPayload = Readonly<Record<string, string | number | boolean>>

/** What a run leaves behind, as JSON has it. */
export interface JobResult {
  readonly [name: string]: JobValue
}
type JobValue = string | number | boolean | null | readonly JobValue[] | JobResult

export interface JobContext {
  /** Id of the run: the same when it is begun again, after a failure or the end of its process. */
  readonly run: string
  /** Aborted when the scheduler stops, or when the run is no longer this process's. */
  readonly signal: AbortSignal
  /** 0..1. */
  readonly progress: (done: number) => void
}

export type JobHandler = (payload: JobPayload, context: JobContext) => Promise<JobResult>

type JobState = 'running' | 'done' | 'failed'

export interface JobRun {
  readonly id: string
  readonly name: string
  readonly payload: JobPayload
  readonly state: JobState
  readonly progress: number
  /** The process that has it or had it last, where there are several. */
  readonly by?: string
  /** Epoch ms. */
  readonly startedAt: number
  readonly finishedAt?: number
  readonly result?: JobResult
  readonly error?: string
  /** Of the error, where it is one of the table of errors. */
  readonly code?: string
}

export interface JobRules {
  /** Throws for a payload that makes no sense: that never becomes a run. */
  readonly check?: (payload: JobPayload) => void
  /**
   * How often a run may be begun again, after an error that may pass or the loss of its process.
   * Default 0: a run is begun once.
   */
  readonly retries?: number
  /** Before the first retry; each next one waits twice as long. Default 1,000 ms. */
  readonly backoffMs?: number
}

export interface RunOptions {
  /**
   * One run for each key of a name, as long as it is remembered: asked again, there is the run
   * that was. 1-100 letters, digits, `.`, `_`, `-`.
   */
  readonly key?: string
}

/** A run that was begun. */
export interface BegunRun {
  readonly id: string
  /** The finished run, failed or not. Rejects with `JOB_RUN_UNKNOWN`, `SHUTTING_DOWN`. */
  readonly finished: Promise<JobRun>
}

/** Runs of a name that have not ended. */
export interface JobQueue {
  readonly name: string
  /** Until a process takes it. */
  readonly waiting: number
  readonly active: number
  /** Before another try. */
  readonly delayed: number
}

export interface Scheduler {
  /** Declares a job; at most one run of a name is under way at a time, in whatever process. */
  define(name: string, handler: JobHandler, rules?: JobRules): void

  /**
   * Runs it every `intervalMs`, the first time after one interval. A run that is late is not
   * doubled. 0: never, whatever an earlier process had said.
   */
  every(name: string, intervalMs: number, payload: JobPayload): void

  /**
   * Runs it now; resolves when that is certain. Rejects with `JOB_UNKNOWN`, `JOB_BUSY`, what the
   * job's check throws, `REQUEST_INVALID` for a key, `JOBS_UNAVAILABLE`, and with `SHUTTING_DOWN`
   * once it is stopped.
   */
  begin(name: string, payload: JobPayload, options?: RunOptions): Promise<BegunRun>

  /** Begins it and waits for its end. */
  run(name: string, payload: JobPayload, options?: RunOptions): Promise<JobRun>

  /** What `run` accepts, in the order of definition. */
  names(): readonly string[]

  /** The newest runs first, those under way among them; bounded. Throws `JOBS_UNAVAILABLE`. */
  history(): Promise<readonly JobRun[]>

  /** A run that is remembered. Throws `JOBS_UNAVAILABLE`. */
  find(id: string): Promise<JobRun | undefined>

  /**
   * Calls a run off, in whatever process it is: its signal is aborted, and it fails with
   * `JOB_CANCELLED` as soon as its handler heeds that; what a handler has finished stays done. The
   * run as it is then, one that had ended untouched; undefined: it is not remembered. Throws
   * `JOBS_UNAVAILABLE`.
   */
  cancel(id: string): Promise<JobRun | undefined>

  /** For metrics: as of a moment ago. */
  queues(): readonly JobQueue[]

  start(): void

  /** Aborts what runs here and waits for it. */
  stop(): Promise<void>
}
