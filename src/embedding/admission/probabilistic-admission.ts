/**
 * Admission by chance: each occurrence of a key without a row is one draw (Poisson inclusion;
 * McMahan et al. 2013), so a key waits 1 / p occurrences on average and nothing is remembered of
 * it. A draw is a hash of key, seed and version of the batch: a replay draws the same.
 */
import { assert } from '../../base/assert.ts'
import type { AdmissionSpec } from '../table-spec.ts'
import type { Admission, AdmissionStats, Newcomers } from './admission.ts'
import { mixKey } from './key-mix.ts'

type Spec = Extract<AdmissionSpec, { kind: 'probabilistic' }>

/** A key that is so frequent in one batch gets no more draws. */
const maxDraws = 65_536

export class ProbabilisticAdmission implements Admission {
  readonly #probability: number
  readonly #threshold: number
  readonly #seed: number
  #admitted = 0
  #refused = 0

  constructor({ probability }: Spec, seed: number) {
    assert(probability > 0 && probability <= 1, 'a probability is above 0 and at most 1')
    this.#probability = probability
    this.#threshold = Math.ceil(probability * 2 ** 32)
    this.#seed = seed
  }

  admit({ keys, occurrences, version }: Newcomers, admitted: Uint8Array): void {
    for (let i = 0; i < occurrences.length; i += 1) {
      // Of the version, not of the place in the batch: the order of keys must not matter.
      const base = mixKey(keys[2 * i], keys[2 * i + 1], mixKey(version, this.#seed, 0))
      const isIn = this.#draws(base, Math.min(occurrences[i], maxDraws))
      admitted[i] = isIn ? 1 : 0
      if (isIn) this.#admitted += 1
      else this.#refused += 1
    }
  }

  stats(): AdmissionStats {
    return {
      admitted: this.#admitted,
      refused: this.#refused,
      tracked: 0,
      falsePositiveRate: this.#probability,
    }
  }

  serialize(): Uint8Array {
    return new Uint8Array(0)
  }

  load(bytes: Uint8Array): void {
    if (bytes.length > 0) throw new RangeError('admission by chance keeps nothing')
  }

  #draws(base: number, draws: number): boolean {
    for (let draw = 0; draw < draws; draw += 1) {
      if (mixKey(base, draw, this.#seed) < this.#threshold) return true
    }
    return false
  }
}
