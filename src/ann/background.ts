/**
 * What takes an index so long that it is done beside the thread that answers: growing a tree, and
 * exact answers for audits. Both read rows where they lie, in shared memory, while they change; see
 * `tree-growth.ts` for why that is no harm.
 */
import { exactAnswers } from './exact-answers.ts'
import { IndexMemory, type IndexSite } from './index-memory.ts'
import { TreeGrowth } from './tree-growth.ts'

/** Of every audit of a tree. */
export const auditedK = 10
/** The next best are given, too: one of them may have become better since. */
const answered = 2 * auditedK

export interface GrowthOrder {
  readonly kind: 'grow'
  /** Which of the two trees, as all of its memory is handed over. */
  readonly tree: 0 | 1
  readonly leaves: number
  /** Items that there are, all with ids below the limit. */
  readonly items: number
  readonly idLimit: number
}

interface AnswersOrder {
  readonly kind: 'answers'
  readonly queries: readonly Float32Array[]
  readonly idLimit: number
}

export type Order = GrowthOrder | AnswersOrder

/** Per query the best ids, best first; of a growth none. */
export type Answers = readonly Int32Array[]

export interface Background {
  /** By the index: before any order, and again, between orders, when it lies elsewhere. */
  open(site: IndexSite): void
  /** One order at a time. */
  begin(order: Order): void
  /**
   * Does a step of the order, where this thread is the one to do it; returns how many vectors'
   * worth of work it was, 0 if there is nothing to do here.
   */
  step(): number
  /** What came of the order, once; undefined while it is under way. Throws what it threw. */
  take(): Answers | undefined
}

/** Every step yields how many vectors' worth of work it was. */
export function* follow(memory: IndexMemory, order: Order): Generator<number, Answers> {
  if (order.kind === 'answers') return yield* exactAnswers(memory.flat, { ...order, k: answered })
  yield* new TreeGrowth(memory, order).steps()
  return []
}

/** In steps on the thread that answers, between its answers: for tools and tests. */
export class InlineBackground implements Background {
  #memory: IndexMemory | undefined
  #work: Generator<number, Answers> | undefined
  #answers: Answers | undefined

  open(site: IndexSite): void {
    this.#memory = IndexMemory.attach(site)
  }

  begin(order: Order): void {
    this.#work = this.#memory && follow(this.#memory, order)
  }

  step(): number {
    const step = this.#work?.next()
    if (step === undefined) return 0
    // A step over vectors that have all gone is one all the same.
    if (step.done !== true) return Math.max(1, step.value)
    this.#answers = step.value
    this.#work = undefined
    return 1
  }

  take(): Answers | undefined {
    const answers = this.#answers
    this.#answers = undefined
    return answers
  }
}
