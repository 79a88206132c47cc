/**
 * Who of several versions answers a user: a hash of the user's id puts it into one of 10,000
 * buckets, and each version has a run of them. So a user keeps its version from request to request
 * and over restarts, and raising the share of the last version moves nobody else. Pure.
 */
import { digestWords } from '../../base/digest.ts'

/** A hundredth of a percent each. */
const buckets = 10_000

const encoder = new TextEncoder()

/** 0..9,999, the same for a user for ever. */
function bucketOf(userId: string): number {
  const [low] = digestWords(encoder.encode(userId))
  return low % buckets
}

export interface Share<Version> {
  readonly version: Version
  /** 0..100. */
  readonly percent: number
}

export class TrafficSplit<Version> {
  /** Who answers whoever is given to no other. */
  readonly primary: Version
  readonly #runs: readonly { readonly version: Version; readonly end: number }[]

  /** `shares`: of the others; the primary has what they leave. */
  constructor(primary: Version, shares: readonly Share<Version>[]) {
    this.primary = primary
    let end = 0
    this.#runs = shares
      .filter(({ percent }) => percent > 0)
      .map(({ version, percent }) => {
        end += Math.round((percent * buckets) / 100)
        return { version, end }
      })
  }

  /** Those that answer anybody. */
  get versions(): readonly Version[] {
    return [this.primary, ...this.#runs.map(({ version }) => version)]
  }

  /** Whoever is nobody in particular is the primary's. */
  of(userId: string | undefined): Version {
    if (this.#runs.length === 0 || userId === undefined) return this.primary
    const bucket = bucketOf(userId)
    return this.#runs.find(({ end }) => bucket < end)?.version ?? this.primary
  }
}
