/**
 * A dry run: finds what a restrict would remove, in the same steps and by the same rules, and says
 * how many rows that is, how often they were seen and when, and which some of them are. Rows that
 * learn while it runs are left out, as a restrict in steps leaves them in.
 */
import type { Keys } from '../../base/keys.ts'
import { tableField } from '../../kernels/table-kernels.ts'
import type { TableStorage } from '../memory/table-storage.ts'
import type { Restriction } from './restriction.ts'
import type { Visit } from './selection.ts'

export interface PreviewSettings {
  /** Rows of the table now, and its time. */
  readonly rows: number
  readonly now: number
  /** By which counts decay, in ticks a ms; 0: they do not. */
  readonly countRate: number
  /** Rows named in the report. */
  readonly samples: number
}

/** Rows whose count is at least `from` and below twice that; from 0: below 1. */
interface CountBucket {
  readonly from: number
  readonly rows: number
}

/** Rows last seen at most so long ago, and longer than the bucket before says. */
interface AgeBucket {
  readonly upToMs: number
  readonly rows: number
}

export interface PreviewReport {
  readonly rows: number
  readonly leaving: number
  readonly byCount: readonly CountBucket[]
  readonly byAge: readonly AgeBucket[]
  /** Those with the smallest keys; keys are hashes, so they are as good as drawn by lot. */
  readonly sample: readonly SampledRow[]
}

export interface SampledRow {
  /** 16 hexadecimal digits. */
  readonly key: string
  readonly count: number
  readonly lastSeen: number
}

type Advance = (restriction: Restriction, visit: Visit) => Restriction | undefined
/** What is to be removed next, after so many rows; undefined: nothing. */
type Next = (leaving: number) => Restriction | undefined

const [minute, hour, day] = [60_000, 3_600_000, 86_400_000]
const ageBounds = [minute, hour, day, 7 * day, 30 * day, Infinity] as const

/** Invariant: `#sample` holds the smallest keys met, ascending. */
export class RestrictPreview {
  readonly #settings: PreviewSettings
  readonly #advance: Advance
  readonly #next: Next[]
  #restriction: Restriction | undefined
  #leaving = 0
  readonly #byCount = new Map<number, number>()
  readonly #byAge = new Float64Array(ageBounds.length)
  #sample: readonly SampledRow[] = []
  /** The upper half of its last key, once it is full. */
  #highest = 2 ** 32

  /** `restrictions` follow one another. */
  constructor(settings: PreviewSettings, restrictions: readonly Next[], advance: Advance) {
    this.#settings = settings
    this.#advance = advance
    this.#next = [...restrictions]
  }

  /** One step of some milliseconds; false: there is nothing more to do. */
  advance(): boolean {
    while (this.#restriction === undefined && this.#next.length > 0) {
      this.#restriction = this.#next.shift()?.(this.#leaving)
    }
    if (this.#restriction === undefined) return false
    this.#restriction = this.#advance(this.#restriction, (storage, n) => {
      this.#visit(storage, n)
    })
    return true
  }

  report(): PreviewReport {
    return {
      rows: this.#settings.rows,
      leaving: this.#leaving,
      byCount: [...this.#byCount]
        .map(([from, rows]) => ({ from, rows }))
        .toSorted((a, b) => a.from - b.from),
      byAge: ageBounds.map((upToMs, i) => ({ upToMs, rows: this.#byAge[i] })),
      sample: this.#sample,
    }
  }

  /** The n keys and rows staged in a storage would leave. */
  #visit(storage: TableStorage, n: number): void {
    const { keys, rows } = storage
    const words = new Uint32Array(keys.view.buffer)
    const times = new Float64Array(keys.view.buffer)
    const stamps = storage.get(tableField.stamps)
    for (let i = 0; i < n; i += 1) {
      const stamp = stamps + 16 * rows.view[i]
      const lastSeen = times[(stamp + 8) >>> 3]
      const count = this.#countOf(words[stamp >>> 2], lastSeen)
      this.#tell(count, lastSeen)
      this.#offer(keys.view, i, { count, lastSeen })
    }
    this.#leaving += n
  }

  /** In occurrences, now: for people, so not to the last bit as scores are. */
  #countOf(count: number, lastSeen: number): number {
    const { now, countRate } = this.#settings
    if (countRate === 0) return count
    return (count / 256) * 2 ** (-Math.max(0, now - lastSeen) * (countRate / 256))
  }

  #tell(count: number, lastSeen: number): void {
    const from = count < 1 ? 0 : 2 ** Math.floor(Math.log2(count))
    this.#byCount.set(from, (this.#byCount.get(from) ?? 0) + 1)
    const age = this.#settings.now - lastSeen
    this.#byAge[ageBounds.findIndex((bound) => age <= bound)] += 1
  }

  #offer(keys: Keys, i: number, row: Omit<SampledRow, 'key'>): void {
    const { samples } = this.#settings
    if (samples === 0) return
    // Most are above the largest: they are told by one word.
    if (keys[2 * i + 1] > this.#highest) return
    const sample = [...this.#sample, { key: hexOf(keys, i), ...row }]
    this.#sample = sample.toSorted((a, b) => (a.key < b.key ? -1 : 1)).slice(0, samples)
    if (this.#sample.length < samples) return
    this.#highest = Number.parseInt(this.#sample[samples - 1].key.slice(0, 8), 16)
  }
}

/** A key as text: 16 hexadecimal digits. */
const hexOf = (keys: Keys, i: number): string =>
  [keys[2 * i + 1], keys[2 * i]].map((word) => word.toString(16).padStart(8, '0')).join('')
