/**
 * Counts what came of the answers of many processes: reads them from Redis and what users did from
 * the event log, and puts the counts down with where it stands in both. One process at a time has
 * the count; when it is gone another one goes on from there.
 *
 * An event is looked at only once every answer that was given before it must have arrived: senders
 * drop what Redis has not taken within `maxAnswerAgeMs`, so an event that has been held for longer
 * than that finds them all. So counts do not depend on who was quicker.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Clock } from '../../base/clock.ts'
import type { Service } from '../../base/service.ts'
import { WhileWanted } from '../../base/while-wanted.ts'
import { reasonOf } from '../../redis/redis-answers.ts'
import { type Answer, Experiment } from '../../serving/versions/experiment.ts'
import type { EventLogReader, LogBatch, Position } from '../../stream/event-log.ts'
import { maxAnswerAgeMs } from './answer-sender.ts'
import { recordedName, type RecordOptions } from './experiment-record.ts'
import type { ExperimentStore, SavedCounts } from './experiment-store.ts'

/** Longer than senders take, by what a call may be on its way. */
const defaultHoldEventsMs = maxAnswerAgeMs + 1_000
/** Events as old as this were in the log long before they were read: their answers are there. */
const longAgoMs = 60_000
const maxHeldEvents = 131_072
const [tickMs, pauseMs] = [500, 1_000]
const readMaxEvents = 4_096

export interface AnswerCounterOptions extends Omit<RecordOptions, 'maxItems' | 'usersPercent'> {
  readonly store: ExperimentStore
  readonly log: EventLogReader
  readonly clock: Clock
  /** The count of one that is silent for so long is another one's, ms. */
  readonly holdMs: number
  /** How long an event waits for the answers before it, ms; default 6,000. */
  readonly holdEventsMs?: number
  /** Whether there is anything to count. */
  readonly isWanted: () => boolean
  /** It counts no more for now; called once for each reason. */
  readonly onTrouble: (error: unknown) => void
}

/** What users did, as far as it counts; a deletion has no item. */
interface Deed {
  readonly user: string
  readonly itemId?: string
  readonly at: number
}

interface Held {
  readonly deeds: readonly Deed[]
  readonly events: number
  readonly partition: number
  readonly next: string
  /** Monotonic: when it may be looked at. */
  readonly ripeAt: number
}

/** While it has the count. Invariant: `position` is behind all that is not in `held`. */
interface Counting {
  readonly experiment: Experiment
  readonly since: number
  readonly held: Held[]
  heldEvents: number
  /** Where to read on. */
  read: Position
  /** Events before it have been looked at. */
  position: Position
  answersTo: number
  /** Before this process had it. */
  forgotten: number
  taken: number[]
  gone: number[]
}

export class AnswerCounter implements Service {
  readonly name = 'counts of the experiment'
  readonly #options: AnswerCounterOptions
  readonly #types: ReadonlySet<string>
  readonly #loop: WhileWanted
  #isCounting = false
  /** Another one has been seen to have it. */
  #isAnothers = false
  #trouble = ''

  constructor(options: AnswerCounterOptions) {
    this.#options = options
    const { isWanted, onTrouble } = options
    this.#loop = new WhileWanted({ isWanted, run: (signal) => this.#run(signal), onTrouble })
    this.#types = new Set(options.types)
  }

  /** Whether this process has the count. */
  get isCounting(): boolean {
    return this.#isCounting
  }

  start(): Promise<void> {
    return this.follow()
  }

  /** Counts from now on, or no more, as is wanted now. */
  follow(): Promise<void> {
    return this.#loop.follow()
  }

  drain(): Promise<void> {
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    await this.#loop.stop()
    this.#options.store.close()
  }

  /** Under a name of its own each time, so that what it left behind is refused. */
  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const token = randomUUID()
        const counting = await this.#claim(token)
        this.#isCounting = counting !== undefined
        if (counting !== undefined) await this.#count(counting, token, signal)
      } catch (error) {
        this.#note(error)
      }
      this.#isCounting = false
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    }
  }

  #note(error: unknown): void {
    const reason = reasonOf(error)
    if (reason === this.#trouble) return
    this.#trouble = reason
    this.#options.onTrouble(error)
  }

  /** Undefined: another one has it. */
  async #claim(token: string): Promise<Counting | undefined> {
    const { store, log, clock, holdMs } = this.#options
    if (!(await store.connected(pauseMs))) throw new Error('there is no connection to Redis')
    const found = await store.claim(token, holdMs, this.#isAnothers)
    this.#isAnothers ||= found === undefined
    if (found === undefined) return undefined
    const [start, end] = [await log.start(), await log.end()]
    const counts = found.counts ?? noCounts(clock.now(), end)
    const counting = countingOf(new Experiment(this.#options, counts.versions), counts)
    await this.#takeAnswers(counting, found.taken)
    counting.forgotten = counts.forgotten - counting.experiment.forgotten
    // Where no answer is waited for, nothing in the log can be of interest.
    const isIdle = counting.experiment.oldest === undefined
    counting.position = isIdle ? end : this.#kept(counting.position, start)
    counting.read = counting.position
    return counting
  }

  /** What the log does not keep any more is lost to the counts. */
  #kept(position: Position, start: Position): Position {
    const { log } = this.#options
    const kept = Object.entries(start).map(([partition, first]) => {
      const at = position[Number(partition)]
      return [partition, at === undefined || log.compare(at, first) < 0 ? first : at]
    })
    return Object.fromEntries(kept)
  }

  /** Until another one has it. Redis may be away meanwhile: what it loses it is given again. */
  async #count(counting: Counting, token: string, signal: AbortSignal): Promise<void> {
    const { clock, holdMs } = this.#options
    let next = clock.monotonic()
    while (!signal.aborted) {
      const leftMs = next - clock.monotonic()
      if (leftMs > 0) {
        await this.#read(counting, leftMs, signal)
        continue
      }
      next = clock.monotonic() + tickMs
      try {
        if (!(await this.#tick(counting, token, holdMs))) return
        this.#trouble = ''
      } catch (error) {
        this.#note(error)
      }
    }
    await this.#tick(counting, token, 0)
  }

  async #read(counting: Counting, waitMs: number, signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    if (counting.heldEvents >= maxHeldEvents) {
      await sleep(waitMs, undefined, { signal }).catch(() => undefined)
      return
    }
    const options = { maxEvents: readMaxEvents, waitMs: Math.ceil(waitMs), signal }
    for (const batch of await log.read(counting.read, options)) {
      counting.held.push(this.#heldOf(batch))
      counting.heldEvents += batch.events.length
      counting.read = { ...counting.read, [batch.partition]: batch.next }
    }
  }

  #heldOf({ partition, events, next }: LogBatch): Held {
    const { clock, holdEventsMs = defaultHoldEventsMs } = this.#options
    const newest = events.at(-1)?.acceptedAt ?? 0
    const isOld = newest < clock.now() - longAgoMs
    const deeds = events.flatMap((event): readonly Deed[] => {
      const at = event.acceptedAt
      if (event.kind === 'deleteUser') return [{ user: recordedName(event.userId), at }]
      if (event.kind !== 'interaction') return []
      if (this.#types.size > 0 && !this.#types.has(event.type)) return []
      return [{ user: recordedName(event.userId), itemId: event.itemId, at }]
    })
    const ripeAt = clock.monotonic() + (isOld ? 0 : holdEventsMs)
    return { deeds, events: events.length, partition, next, ripeAt }
  }

  /** False: another one has the count. `holdMs`: how long it is held from now on. */
  async #tick(counting: Counting, token: string, holdMs: number): Promise<boolean> {
    const { held } = counting
    const now = this.#options.clock.monotonic()
    await this.#takeAnswers(counting)
    const unripe = held.findIndex(({ ripeAt }) => ripeAt > now)
    const places: Record<number, string> = {}
    for (const one of held.splice(0, unripe < 0 ? held.length : unripe)) {
      for (const deed of one.deeds) fold(counting, deed)
      counting.heldEvents -= one.events
      places[one.partition] = one.next
    }
    counting.position = { ...counting.position, ...places }
    return await this.#save(counting, token, holdMs)
  }

  /** All that have been appended by now; `known`: what is known of those that are counted. */
  async #takeAnswers(counting: Counting, known?: ReadonlySet<number>): Promise<void> {
    let from = known === undefined ? counting.answersTo : 0
    for (;;) {
      const { answers, isAll } = await this.#options.store.after(from)
      for (const answer of answers) takeAnswer(counting, answer, known)
      from = answers.at(-1)?.number ?? from
      if (isAll) return
    }
  }

  async #save(counting: Counting, token: string, holdMs: number): Promise<boolean> {
    const { experiment, since, position, answersTo, taken, gone } = counting
    const forgotten = counting.forgotten + experiment.forgotten
    const isSaved = await this.#options.store.save(token, {
      counts: { since, position, answersTo, forgotten, versions: experiment.totals() },
      oldest: experiment.oldest ?? answersTo + 1,
      taken,
      gone,
      holdMs,
    })
    counting.taken = []
    counting.gone = []
    return isSaved
  }
}

const noCounts = (since: number, position: Position): SavedCounts => ({
  since,
  position,
  answersTo: 0,
  forgotten: 0,
  versions: {},
})

function countingOf(experiment: Experiment, counts: SavedCounts): Counting {
  const { since, position, answersTo, forgotten } = counts
  const none = { held: [], heldEvents: 0, taken: [], gone: [] }
  return { experiment, since, read: position, position, answersTo, forgotten, ...none }
}

function takeAnswer(counting: Counting, answer: Answer, known?: ReadonlySet<number>): void {
  const { experiment } = counting
  const { number } = answer
  if (number > counting.answersTo) {
    experiment.answered(answer)
    counting.answersTo = number
    return
  }
  experiment.restore(answer)
  if (known?.has(number) === true) experiment.markTaken(number)
}

function fold(counting: Counting, { user, itemId, at }: Deed): void {
  const { experiment } = counting
  if (itemId === undefined) {
    counting.gone.push(...experiment.forget(user))
    return
  }
  const outcome = experiment.taken({ user, itemId, at })
  if (outcome?.isFirst === true) counting.taken.push(outcome.answer)
}
