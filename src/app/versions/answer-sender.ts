/**
 * Records, from one of many processes, which version answered whom, and knows what others have
 * counted. Nobody waits for it: answers are put together and sent a little later, and what Redis
 * does not take in time is dropped and counted, never sent a second time.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import type { Clock } from '../../base/clock.ts'
import { ServiceError } from '../../base/errors.ts'
import type { Service } from '../../base/service.ts'
import { WhileWanted } from '../../base/while-wanted.ts'
import { reasonOf } from '../../redis/redis-answers.ts'
import type { Answer } from '../../serving/versions/experiment.ts'
import type {
  ExperimentDesk,
  ExperimentView,
  GivenAnswer,
  WantedAnswers,
} from '../../serving/versions/versions-desk.ts'
import {
  answerFilter,
  isRecorded,
  recordedName,
  type RecordOptions,
  rowsOf,
} from './experiment-record.ts'
import type { AnswerText, ExperimentStore, SavedCounts } from './experiment-store.ts'

/** Answers that are not with Redis by then are dropped: whoever counts relies on it. */
export const maxAnswerAgeMs = 5_000

const sendEveryMs = 100
const lookEveryMs = 1_000
/** Sent at once, and waiting. */
const [batchAnswers, batchChars] = [128, 262_144]
const [maxWaiting, maxWaitingChars] = [10_000, 16_777_216]

export interface AnswerSenderOptions extends RecordOptions {
  readonly store: ExperimentStore
  readonly clock: Clock
  /** Default `maxAnswerAgeMs`; whoever counts must know. */
  readonly maxAgeMs?: number
  /** Whether there is anything to record. */
  readonly isWanted: () => boolean
  /** Answers are lost; called once for each reason. */
  readonly onTrouble: (error: unknown) => void
}

interface Waiting {
  readonly text: string
  /** Monotonic. */
  readonly at: number
}

/** Invariant: `#chars` is the length of all that is in `#waiting`. */
export class AnswerSender implements Service, ExperimentDesk {
  readonly name = 'experiment'
  readonly #options: AnswerSenderOptions
  readonly #loop: WhileWanted
  readonly #waiting: Waiting[] = []
  #chars = 0
  #dropped = 0
  #counts: SavedCounts | undefined
  /** Monotonic. */
  #countedAt: number | undefined
  #lookedAt = -Infinity
  #trouble = ''

  constructor(options: AnswerSenderOptions) {
    this.#options = options
    const { isWanted, onTrouble } = options
    this.#loop = new WhileWanted({ isWanted, run: (signal) => this.#run(signal), onTrouble })
  }

  start(): Promise<void> {
    return this.follow()
  }

  /** Records from now on, or no more, as is wanted now. */
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

  answered({ requestId, userId, version, items }: GivenAnswer): void {
    const { maxItems, usersPercent, clock } = this.#options
    if (!this.#loop.isWanted || !isRecorded(userId, usersPercent)) return
    const answer: AnswerText = {
      requestId,
      user: recordedName(userId),
      version,
      items: items.slice(0, maxItems).map(({ id }) => id),
    }
    const text = JSON.stringify(answer)
    if (this.#waiting.length >= maxWaiting || this.#chars + text.length > maxWaitingChars) {
      this.#dropped += 1
      return
    }
    this.#waiting.push({ text, at: clock.monotonic() })
    this.#chars += text.length
  }

  report(): ExperimentView {
    const { windowMs, clock } = this.#options
    const { since = 0, forgotten = 0, versions = {} } = this.#counts ?? {}
    const at = this.#countedAt
    return {
      recording: this.#loop.isWanted,
      since,
      windowMs,
      forgotten,
      dropped: this.#dropped,
      countedAt: at === undefined ? 0 : Math.round(clock.now() - (clock.monotonic() - at)),
      versions: rowsOf(versions),
    }
  }

  async answers(limit: number, wanted: WantedAnswers): Promise<readonly Answer[]> {
    try {
      return await this.#options.store.newest(limit, answerFilter(wanted))
    } catch (error) {
      throw new ServiceError('VERSIONS_UNAVAILABLE', { reason: reasonOf(error) }, { cause: error })
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#send()
      await sleep(sendEveryMs, undefined, { signal }).catch(() => undefined)
    }
    await this.#send()
  }

  /** All that waits; or, once in a while, nothing, to hear what has been counted. */
  async #send(): Promise<void> {
    const { clock, store } = this.#options
    const isDue = clock.monotonic() - this.#lookedAt >= lookEveryMs
    if (!isDue && this.#waiting.length === 0) return
    if (!(await store.connected(sendEveryMs))) {
      if (this.#dropOld() > 0) this.#note(new Error('there is no connection to Redis'))
      return
    }
    if (this.#waiting.length === 0) await this.#append([])
    while (this.#waiting.length > 0) {
      this.#dropOld()
      await this.#append(this.#next())
    }
  }

  /** How many that were. */
  #dropOld(): number {
    const { clock, maxAgeMs = maxAnswerAgeMs } = this.#options
    const oldest = clock.monotonic() - maxAgeMs
    const young = this.#waiting.findIndex(({ at }) => at > oldest)
    const old = this.#take(young < 0 ? this.#waiting.length : young).length
    this.#dropped += old
    return old
  }

  /** As many as go at once. */
  #next(): readonly Waiting[] {
    let [end, chars] = [0, 0]
    while (end < this.#waiting.length && end < batchAnswers && chars < batchChars) {
      chars += this.#waiting[end].text.length
      end += 1
    }
    return this.#take(end)
  }

  #take(count: number): readonly Waiting[] {
    const taken = this.#waiting.splice(0, count)
    for (const { text } of taken) this.#chars -= text.length
    return taken
  }

  async #append(batch: readonly Waiting[]): Promise<void> {
    const { store, clock } = this.#options
    const now = clock.monotonic()
    this.#lookedAt = now
    try {
      // No younger than it is: a click in the same moment is after it.
      const said = batch.flatMap(({ text, at }) => [Math.ceil(now - at) + 1, text])
      const { counts, countedAgoMs } = await store.append(said)
      this.#counts = counts
      this.#countedAt = countedAgoMs === undefined ? undefined : clock.monotonic() - countedAgoMs
      this.#trouble = ''
    } catch (error) {
      this.#dropped += batch.length
      this.#note(error)
    }
  }

  #note(error: unknown): void {
    const reason = reasonOf(error)
    if (reason === this.#trouble) return
    this.#trouble = reason
    this.#options.onTrouble(error)
  }
}
