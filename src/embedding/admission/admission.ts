/**
 * Which new keys earn a row. On an endless stream most keys come once and never again; a row for
 * each costs memory and learns nothing. The policies are the field's: a threshold on exact counts
 * (Monolith, section 4.1; PaddlePaddle's count filter), the same threshold on a counting Bloom
 * filter (DeepRec's CBF filter), and inclusion by chance (McMahan et al., "Ad Click Prediction",
 * 2013, section 4.1: Poisson inclusion). Where they depart: memory is bounded on an endless stream
 * too, because what is counted ages by generations; and draws come from key, seed and version, so
 * that a replay admits the same keys.
 *
 * A policy is pure state: it is asked about keys without a row, and is saved in checkpoints, so
 * that a restart does not forget that a key was seen n - 1 times. It stands above shards and
 * threads and knows nothing of them.
 */
import type { Keys } from '../../base/keys.ts'
import type { TableSpec } from '../table-spec.ts'

/** Keys of a batch that have no row; no key is 0. */
export interface Newcomers {
  /** n, distinct in training. */
  readonly keys: Keys
  /** How often each key took part in the batch (n), all at least 1. */
  readonly occurrences: Uint32Array
  /** Version of the batch's stamp. */
  readonly version: number
}

/** Of a policy since the start of the process, but for the last two. */
export interface AdmissionStats {
  /** Keys that earned a row. */
  readonly admitted: number
  /** Keys of batches that did not: a key counts once for each batch. */
  readonly refused: number
  /** Keys that are being counted now. */
  readonly tracked: number
  /** The chance that a key never seen before is admitted at once: an estimate, 0 where exact. */
  readonly falsePositiveRate: number
}

export interface Admission {
  /** admitted[i] <- 1 if key i earns a row now, else 0, and then it is remembered. */
  admit(newcomers: Newcomers, admitted: Uint8Array): void
  stats(): AdmissionStats
  /** Everything that decides later: equal states give equal answers. */
  serialize(): Uint8Array
  /** Replaces the state. Throws `RangeError` for bytes of something else. */
  load(bytes: Uint8Array): void
}

/** Names of the tables in which some keys share a row. */
export const tablesThatShare = (specs: readonly TableSpec[]): ReadonlySet<string> =>
  new Set(specs.filter((spec) => sharesRow(spec)).map(({ name }) => name))

/** Whether some keys of the table read a row that they share. */
export const sharesRow = ({ admission }: Pick<TableSpec, 'admission'>): boolean =>
  admission !== undefined && admission.kind !== 'always'
