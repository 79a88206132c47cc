/**
 * Commands to the one process that owns something (the trainer its tables), over Redis: asked from
 * anywhere, executed by the owner, answered with the result or the error with its code.
 *
 * A command has an id and is executed once: it stands in a stream until its owner has answered it,
 * the answer stands under the id for an hour, and whoever asks again under the id gets that answer.
 * An owner that begins a command claims it, and renews the claim while it works on it; where that
 * owner is lost before it has answered, the next one begins the command again, so a command must be
 * one that is right when it is done again from where a checkpoint left off. What nobody has begun
 * in time is never begun: by then who asked has been told so.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Clock } from '../base/clock.ts'
import { type ErrorDetails, isErrorCode, ServiceError } from '../base/errors.ts'
import type { Service } from '../base/service.ts'
import { connectRedis, type RedisConnection } from '../redis/redis-connection.ts'
import { claimMs, type CommandChannel, type CommandEntry, CommandStore } from './command-channel.ts'
import { mayPass } from './job-outcome.ts'
import { ProgressWriter } from './progress-writer.ts'
import type { JobContext, JobResult } from './scheduler.ts'

/** What is asked for. */
export type Command = JobResult & { readonly kind: string }

export interface CommandLimits {
  /** Until the owner must have begun it; default 30 s. */
  readonly beginMs: number
  /** Until it must have been answered; default 15 minutes. */
  readonly limitMs: number
}

interface PlainFailure {
  readonly message: string
  /** Absent: a bug, not an operating error. */
  readonly code?: string
  readonly details?: ErrorDetails
}

type Answer = { readonly result: JobResult } | { readonly failure: PlainFailure }

const defaultLimits: CommandLimits = { beginMs: 30_000, limitMs: 15 * 60_000 }
const [shortestLookMs, longestLookMs] = [5, 100]
/** Redis and this process need not look at their clocks at the same moment. */
const graceMs = 1_000
/** From look to look for commands whose owner was lost; one that is new is heard of at once. */
const arrivalMs = 1_000
/** A reply that has not come by then is not coming on this connection. */
const silentMs = 3_000
const troubleMs = 200

export interface CommandClientOptions {
  readonly channel: CommandChannel
  readonly clock: Clock
  readonly limits?: Partial<CommandLimits>
}

export interface AskOptions {
  /** Of the command; asked again under it, there is the same answer. */
  readonly id: string
  readonly signal?: AbortSignal
  /** Who executes it; absent: the channel's. */
  readonly owner?: string
  /** Told how far its owner is, 0..1, when that has changed. */
  readonly progress?: (done: number) => void
}

export class CommandClient {
  readonly #clock: Clock
  readonly #limits: CommandLimits
  readonly #connection: RedisConnection
  readonly #channel: CommandChannel

  constructor({ channel, clock, limits }: CommandClientOptions) {
    this.#clock = clock
    this.#limits = { ...defaultLimits, ...limits }
    this.#connection = connectRedis(channel.redis)
    this.#channel = channel
  }

  /**
   * Resolves with the result. Throws what the owner threw, `COMMAND_UNANSWERED`, `OVERLOADED`, and
   * the signal's reason; a command that was begun goes on all the same.
   */
  async ask(command: Command, { id, signal, progress, owner }: AskOptions): Promise<JobResult> {
    const { beginMs, limitMs } = this.#limits
    const store = this.#storeOf(owner)
    const begin = this.#clock.monotonic()
    const text = JSON.stringify(command)
    let isAsked = false
    let isBegun = false
    let done = 0
    for (let lookMs = shortestLookMs; ; lookMs = Math.min(longestLookMs, 1.5 * lookMs)) {
      signal?.throwIfAborted()
      const elapsed = this.#clock.monotonic() - begin
      const limit = isBegun ? limitMs : beginMs + graceMs
      if (elapsed > limit) throw this.#unanswered(command, { isAsked, isBegun, limitMs: limit })
      // Asked once: another stream entry would only be late. Known commands are not added again.
      isAsked ||= (await this.#try(store.ask(id, text, beginMs - elapsed))) !== undefined
      const state = isAsked ? await this.#try(store.look(id)) : undefined
      const answer = state?.answer
      if (answer !== undefined) return await this.#result(answer, command, { id, store })
      isBegun ||= state?.isBegun === true
      if (state !== undefined && state.progress > done) {
        done = state.progress
        progress?.(done)
      }
      await sleep(lookMs)
    }
  }

  close(): void {
    this.#connection.close()
  }

  #storeOf(owner = this.#channel.owner): CommandStore {
    return new CommandStore(this.#connection, { ...this.#channel, owner })
  }

  /** Throws what the owner threw. What may pass is no last word: asked again, it is a new try. */
  async #result(
    text: string,
    { kind: name }: Command,
    { id, store }: { readonly id: string; readonly store: CommandStore },
  ): Promise<JobResult> {
    try {
      return resultOf(text, { id, name })
    } catch (error) {
      if (mayPass(error)) await this.#try(store.forget(id, text))
      throw error
    }
  }

  /** Undefined where Redis did not answer: it is asked again. */
  async #try<Value>(reply: Promise<Value>): Promise<Value | undefined> {
    const value = await replied(reply, this.#connection)
    if (value === false) throw new ServiceError('OVERLOADED', { reason: 'commands to the owner' })
    return value
  }

  #unanswered(
    { kind }: Command,
    { isAsked, isBegun, limitMs }: { isAsked: boolean; isBegun: boolean; limitMs: number },
  ): ServiceError {
    const { lastError } = this.#connection
    const cause = lastError === undefined ? 'Redis does not answer' : lastError.message
    const asked = isBegun ? 'it was begun and may go on' : 'its owner has not begun it'
    const reason = isAsked ? asked : cause
    return new ServiceError('COMMAND_UNANSWERED', { command: kind, limitMs, reason })
  }
}

export interface CommandServerOptions {
  readonly channel: CommandChannel
  /** Executes one; commands come one after the other. */
  readonly execute: (command: Command, context: JobContext) => Promise<JobResult>
  /** Whether this process is the owner now; else commands are left to the one that is. */
  readonly isOwner?: () => boolean
}

/** Executes the commands of a channel, as long as this process is the owner. */
export class CommandServer implements Service {
  readonly name = 'commands'
  readonly #options: CommandServerOptions
  readonly #who = randomUUID()
  readonly #connection: RedisConnection
  readonly #store: CommandStore
  readonly #stopping = new AbortController()
  readonly #stopped = Promise.withResolvers<void>()
  #loop: Promise<void> = Promise.resolve()

  constructor(options: CommandServerOptions) {
    this.#options = options
    this.#connection = connectRedis(options.channel.redis)
    this.#store = new CommandStore(this.#connection, options.channel)
  }

  start(): Promise<void> {
    this.#loop = this.#serve()
    return Promise.resolve()
  }

  /** Answers the command at work, which may end early by its signal, and takes no other. */
  async drain(): Promise<void> {
    this.#end()
    await this.#loop
  }

  async stop(): Promise<void> {
    this.#end()
    this.#connection.close()
    await this.#loop
  }

  #end(): void {
    this.#stopping.abort(new ServiceError('SHUTTING_DOWN', {}))
    this.#stopped.resolve()
  }

  async #serve(): Promise<void> {
    const { isOwner = () => true } = this.#options
    let last = '0-0'
    while (!this.#isStopping) {
      const entries = isOwner() ? await this.#replied(this.#store.waiting()) : undefined
      if (entries === undefined) {
        await this.#pause(troubleMs)
        continue
      }
      for (const entry of entries) {
        last = entry.entry
        if (!this.#isStopping && isOwner()) await this.#take(entry)
      }
      if (this.#isStopping) return
      const arrival = this.#replied(this.#store.arrival(last, arrivalMs), arrivalMs)
      await Promise.race([arrival, this.#stopped.promise])
    }
  }

  async #take(entry: CommandEntry): Promise<void> {
    if ((await this.#replied(this.#store.claim(entry, this.#who))) !== true) return
    const renewal = setInterval(() => {
      void this.#replied(this.#store.renew(entry.id, this.#who))
    }, claimMs / 3)
    try {
      const text = JSON.stringify(await this.#execute(entry))
      // Without an answer the command would be done again, so it is given as long as it takes.
      while ((await this.#replied(this.#answer(entry, text))) === undefined) {
        if (this.#isStopping) break
        await this.#pause(troubleMs)
      }
    } finally {
      clearInterval(renewal)
    }
  }

  async #answer(entry: CommandEntry, text: string): Promise<true> {
    await this.#store.answer(entry, this.#who, text)
    return true
  }

  async #execute({ command, id: run }: CommandEntry): Promise<Answer> {
    const store = this.#store
    const writer = new ProgressWriter((done) => this.#replied(store.progress(run, this.#who, done)))
    const progress = (done: number): void => writer.report(done)
    const context = { run, signal: this.#stopping.signal, progress }
    try {
      // A client of this file has written it.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      return { result: await this.#options.execute(JSON.parse(command) as Command, context) }
    } catch (error) {
      return { failure: plain(error) }
    } finally {
      writer.close()
    }
  }

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted
  }

  #replied<Value>(reply: Promise<Value>, extraMs = 0): Promise<Value | undefined> {
    return replied(reply, this.#connection, extraMs)
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
  }
}

/** Undefined where there is no connection, or one that stays silent: that is begun anew. */
async function replied<Value>(
  reply: Promise<Value>,
  connection: RedisConnection,
  extraMs = 0,
): Promise<Value | undefined> {
  const timer = new AbortController()
  const silence = sleep(silentMs + extraMs, undefined, { signal: timer.signal, ref: false }).then(
    () => connection.reconnect(),
    () => undefined,
  )
  try {
    return (await Promise.race([reply, silence])) ?? undefined
  } catch {
    return undefined
  } finally {
    timer.abort()
    reply.catch(() => undefined)
  }
}

const plain = (error: unknown): PlainFailure =>
  error instanceof ServiceError
    ? { message: error.message, code: error.code, details: error.details }
    : { message: String(error) }

function resultOf(text: string, { id, name }: { id: string; name: string }): JobResult {
  // The owner has written it; see `#take`.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const answer = JSON.parse(text) as Answer
  if ('result' in answer) return answer.result
  const { code, message, details = {} } = answer.failure
  if (code !== undefined && isErrorCode(code)) throw new ServiceError(code, details)
  throw new ServiceError('JOB_FAILED', { run: id, name, reason: message })
}
