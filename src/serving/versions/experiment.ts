/**
 * What came of whose answers: a fold of answers and interactions, in the order of their times. An
 * interaction counts for the newest answer to its user within the window that had the item, or, if
 * none had, as a miss of the newest answer. Pure: the same answers and events give the same counts.
 *
 * Rates come with Wilson's score interval (E. B. Wilson, 1927) at 95 %.
 */
export interface ExperimentOptions {
  /** How long after an answer its user's interactions count for it, in milliseconds. */
  readonly windowMs: number
  /** Answers that are remembered; beyond, the oldest are forgotten early. */
  readonly maxAnswers: number
}

/** A list that was given to a user. */
export interface Answer {
  /** Ordinal, for what refers to it. */
  readonly number: number
  readonly requestId: string
  /** A name of the user that need not be its id. */
  readonly user: string
  readonly version: string
  /** Ids, best first. */
  readonly items: readonly string[]
  /** Epoch ms. */
  readonly at: number
}

export interface Interaction {
  readonly user: string
  readonly itemId: string
  /** When it was accepted, epoch ms. */
  readonly at: number
}

/** What an interaction says of an answer. */
export interface Outcome {
  /** Of the answer. */
  readonly answer: number
  readonly requestId: string
  readonly version: string
  /** Of the item in the list, from 1; absent: it was not in it. */
  readonly rank?: number
  /** Whether it is the first item of the list that the user took. */
  readonly isFirst: boolean
}

/** Counts since the beginning. */
export interface VersionTotals {
  readonly answers: number
  /** Of them, those of which the user took something. */
  readonly answersTaken: number
  /** By users who had an answer within the window, and how many of them with an item of it. */
  readonly interactions: number
  readonly hits: number
}

/** A share, and the interval that has the true one with a probability of 95 %. */
export interface Rate {
  readonly value: number
  readonly low: number
  readonly high: number
}

const none: VersionTotals = { answers: 0, answersTaken: 0, interactions: 0, hits: 0 }

/** Events are folded a little later than they come. */
const slackMs = 60_000

interface Open extends Answer {
  isTaken: boolean
}

/**
 * Invariant: `#open` is in the order of numbers, and `#byUser` has the same answers, no more, each
 * user's in the order of times: answers of several processes come nearly in it.
 */
export class Experiment {
  readonly #options: ExperimentOptions
  readonly #totals = new Map<string, VersionTotals>()
  readonly #byUser = new Map<string, Open[]>()
  #open: Open[] = []
  /** Of `#open`, those before this are gone. */
  #first = 0
  #forgotten = 0

  constructor(options: ExperimentOptions, totals: Readonly<Record<string, VersionTotals>> = {}) {
    this.#options = options
    for (const [version, counts] of Object.entries(totals)) this.#totals.set(version, counts)
  }

  /** Answers forgotten before their window had passed. */
  get forgotten(): number {
    return this.#forgotten
  }

  /** The number of the oldest that is remembered. */
  get oldest(): number | undefined {
    return this.#first < this.#open.length ? this.#open[this.#first].number : undefined
  }

  /** The newest, the newest first. */
  newest(limit: number, isWanted: (answer: Answer) => boolean = () => true): readonly Answer[] {
    const found: Answer[] = []
    for (let i = this.#open.length - 1; i >= this.#first && found.length < limit; i -= 1) {
      if (isWanted(this.#open[i])) found.push(this.#open[i])
    }
    return found
  }

  totals(): Readonly<Record<string, VersionTotals>> {
    return Object.fromEntries(this.#totals)
  }

  /** Counts it and keeps it for what comes of it. */
  answered(answer: Answer): void {
    this.restore(answer)
    const { answers, ...rest } = this.#of(answer.version)
    this.#totals.set(answer.version, { ...rest, answers: answers + 1 })
  }

  /** Keeps one that has been counted; `answered` without the count. */
  restore(answer: Answer): void {
    const open = { ...answer, isTaken: false }
    this.#open.push(open)
    const own = this.#byUser.get(answer.user)
    if (own === undefined) this.#byUser.set(answer.user, [open])
    else own.splice(own.findLastIndex(({ at }) => at <= answer.at) + 1, 0, open)
    this.#drop(answer.at - this.#options.windowMs - slackMs)
  }

  /** What it comes to; undefined: nothing was recommended to the user of late. */
  taken({ user, itemId, at }: Interaction): Outcome | undefined {
    const from = at - this.#options.windowMs
    const own = this.#byUser.get(user)?.filter((one) => one.at <= at && one.at > from) ?? []
    const newest = own.at(-1)
    if (newest === undefined) return undefined
    const hit = own.findLast(({ items }) => items.includes(itemId))
    const { number, requestId, version, items, isTaken } = hit ?? newest
    const outcome: Outcome = {
      answer: number,
      requestId,
      version,
      ...(hit && { rank: items.indexOf(itemId) + 1 }),
      isFirst: hit !== undefined && !isTaken,
    }
    this.count(outcome)
    return outcome
  }

  /** Counts what has been found before. */
  count({ answer, version, rank, isFirst }: Outcome): void {
    const { answers, answersTaken, interactions, hits } = this.#of(version)
    this.#totals.set(version, {
      answers,
      answersTaken: answersTaken + Number(isFirst),
      interactions: interactions + 1,
      hits: hits + Number(rank !== undefined),
    })
    if (isFirst) this.markTaken(answer)
  }

  markTaken(number: number): void {
    const open = this.#find(number)
    if (open !== undefined) open.isTaken = true
  }

  /** Nothing is kept of a user that is gone. The numbers of the answers that were. */
  forget(user: string): readonly number[] {
    const own = this.#byUser.get(user) ?? []
    if (own.length === 0) return []
    this.#byUser.delete(user)
    this.#open = this.#open.slice(this.#first).filter((answer) => answer.user !== user)
    this.#first = 0
    return own.map(({ number }) => number)
  }

  #of(version: string): VersionTotals {
    return this.#totals.get(version) ?? none
  }

  /** Numbers ascend. */
  #find(number: number): Open | undefined {
    let [low, high] = [this.#first, this.#open.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#open[middle].number < number) low = middle + 1
      else high = middle
    }
    const found: Open | undefined = this.#open[low]
    return found?.number === number ? found : undefined
  }

  #drop(before: number): void {
    const { maxAnswers } = this.#options
    while (this.#first < this.#open.length) {
      const oldest = this.#open[this.#first]
      const isOver = this.#open.length - this.#first > maxAnswers
      if (oldest.at >= before && !isOver) break
      if (oldest.at >= before) this.#forgotten += 1
      this.#first += 1
      this.#disown(oldest)
    }
    if (this.#first <= maxAnswers) return
    this.#open = this.#open.slice(this.#first)
    this.#first = 0
  }

  #disown(gone: Open): void {
    const own = this.#byUser.get(gone.user)
    if (own === undefined) return
    if (own.length === 1) this.#byUser.delete(gone.user)
    else own.splice(own.indexOf(gone), 1)
  }
}

/** `hits` of `n`; of nothing: anything may be. */
export function rateOf(hits: number, n: number): Rate {
  if (n === 0) return { value: 0, low: 0, high: 1 }
  const z = 1.959964
  const value = hits / n
  const share = (z * z) / n
  const middle = (value + share / 2) / (1 + share)
  const half = (z * Math.sqrt((value * (1 - value)) / n + share / (4 * n))) / (1 + share)
  return { value, low: Math.max(0, middle - half), high: Math.min(1, middle + half) }
}
