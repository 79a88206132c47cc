/**
 * The kernels of hash tables: keys of strings, the cuckoo index, batches of rows, passes over all
 * rows. Keys and scores are u64 in memory (low word first); `table` is the address of a record laid
 * out as `tableField` says. See `assembly/{hash,cuckoo,dedupe,table-*}.ts` for what they do and
 * how.
 */
import type { Address, Flag, Whole } from './operands.ts'

/** The payload of a key that is not there, and the row of a key that has none. */
export const absentPayload = 0xffff_ffff

/** Bytes of one bucket of an index: four keys, four payloads. */
export const bucketBytes = 64

/** Bins of a score histogram. */
export const histogramBins = 65_536

/**
 * The u32 (or, where marked, f32) words of a table's record; `assembly/table-layout.ts` explains.
 */
export const tableField = {
  buckets: 0,
  bucketCount: 1,
  keys: 2,
  stamps: 3,
  rows: 4,
  changed: 5,
  stride: 6,
  stateOffset: 7,
  dim: 8,
  stateFloats: 9,
  capacity: 10,
  size: 11,
  used: 12,
  freed: 13,
  cursor: 14,
  initializer: 15,
  seed: 16,
  /** From here to `decay` f32. */
  initialA: 17,
  initialB: 18,
  initialState: 19,
  rate: 20,
  epsilon: 21,
  decay: 22,
  decaySteps: 23,
  freedCursor: 24,
  optimizer: 25,
  variant: 26,
  /** From here on f32. */
  settingA: 27,
  settingB: 28,
  settingC: 29,
  l2: 30,
  clipNorm: 31,
  clipValue: 32,
  maxNorm: 33,
  /** An address, and once more f32. */
  halvings: 34,
  countTicks: 35,
  /** And u32 again. */
  pending: 36,
  frozen: 37,
  longestPath: 38,
  words: 39,
} as const

/** The rule that a table learns by; `assembly/table-update.ts` has them. */
export const optimizerCode = {
  none: 0,
  sgd: 1,
  momentum: 2,
  adagrad: 3,
  adam: 4,
  rmsprop: 5,
  ftrl: 6,
  clippyAdagrad: 7,
} as const

/** Bits that say how a rule is followed. */
export const optimizerVariant = { nesterov: 1, lazy: 1, centered: 1, withMomentum: 2 } as const

export const initializerCode = { constant: 0, uniform: 1, normal: 2, truncatedNormal: 3 } as const

/** Key, count, version, last-seen time, flags: what a record has before its floats. */
export const recordHeaderBytes = 32

/** What becomes of the changed bits of rows that are written whole. */
export const changedBits = { keep: 0, mark: 1, asRecorded: 2 } as const

/** Components of a score, in the order in which they are compared. */
export const scoreComponent = { count: 0, lastSeen: 1, key: 2 } as const

export interface KeyKernels {
  /**
   * keys[i] <- XXH64 of bytes[offsets[i] .. offsets[i + 1]) under seeds[i] (all u32), 0 becoming 1.
   */
  hashKeys: Whole<[keys: Address, bytes: Address, offsets: Address, seeds: Address, n: number]>
  /**
   * The distinct keys in order of first appearance, where each key is among them, how often each
   * came. `slots`: mask + 1 words, a power of two >= 2 n. Returns how many are distinct.
   */
  dedupeKeys: Whole<
    [
      keys: Address,
      n: number,
      slots: Address,
      mask: number,
      unique: Address,
      inverse: Address,
      occurrences: Address,
    ],
    number
  >
}

type CuckooBatch = [
  buckets: Address,
  bucketCount: number,
  keys: Address,
  n: number,
  payloads: Address,
]

export interface CuckooKernels {
  /** payloads[i] <- the payload of keys[i] or `absentPayload`; returns how many were found. */
  cuckooFind: Whole<CuckooBatch, number>
  /**
   * New keys take payloads[i] while there is room, else it becomes `absentPayload`; for others it
   * becomes what is stored, or is stored with `overwrite`. Returns how many are new.
   */
  cuckooInsert: Whole<[...CuckooBatch, room: number, overwrite: Flag], number>
  /**
   * Removes keys; payloads[i] <- what was there or `absentPayload`. Returns how many were there.
   */
  cuckooErase: Whole<CuckooBatch, number>
}

export interface TableRowKernels {
  tableGather: Whole<[table: Address, keys: Address, rows: Address, n: number, vectors: Address]>
  /** Rows for the keys that have none; returns how many were refused. */
  tableInsert: Whole<
    [table: Address, keys: Address, rows: Address, n: number, time: number, version: number],
    number
  >
  tableAssign: Whole<
    [table: Address, rows: Address, n: number, vectors: Address, time: number, version: number]
  >
  /** Returns how many were refused. */
  tableAccumulate: Whole<
    [
      table: Address,
      keys: Address,
      n: number,
      oldVectors: Address,
      newVectors: Address,
      exists: Address,
      time: number,
      version: number,
    ],
    number
  >
  /** Writes the keys that had a row to `removed`; returns how many. */
  tableErase: Whole<[table: Address, keys: Address, n: number, removed: Address], number>
}

export interface TableUpdateKernels {
  /**
   * One step of the table's optimizer for each row; gradients are used up. `occurrences` absent
   * (0): counts grow by one.
   */
  tableUpdate: OptimizerKernel
}

/** How rows learn, whatever the optimizer: its settings stand in the table's record. */
export type OptimizerKernel = Whole<
  [
    table: Address,
    rows: Address,
    n: number,
    gradients: Address,
    occurrences: Address,
    time: number,
    version: number,
  ]
>

export interface TableScanKernels {
  /** out (u64) <- a hash of all rows that does not depend on their order. */
  tableDigest: Whole<[table: Address, out: Address]>
  tableNextRows: Whole<[table: Address, max: number, keys: Address, rows: Address], number>
  tableTakeChanged: Whole<[table: Address, max: number, keys: Address], number>
}

/** Rows as records: `recordHeaderBytes`, then the floats of vector and state. */
export interface TableRecordKernels {
  /** Rows that a snapshot has yet to save; returns how many it wrote. */
  tablePackPending: Whole<
    [table: Address, max: number, records: Address, since: number, to: number],
    number
  >
  /** Those of the staged rows. */
  tablePackStaged: Whole<
    [table: Address, rows: Address, n: number, records: Address, since: number],
    number
  >
  /** A row that is none becomes zeros. */
  tableReadRecords: Whole<[table: Address, rows: Address, n: number, records: Address]>
  /** `changes`: one of `changedBits`. Returns how many records found no room. */
  tableWriteRecords: Whole<[table: Address, n: number, records: Address, changes: number], number>
}

/**
 * `ranges`: 3 x (low, high) u64, one for each component of a score; `boundary`: 3 u64. Behind
 * either 3 f64: the time of scoring, ticks a millisecond, since when a row must have been seen.
 */
export interface TableScoreKernels {
  /**
   * Counts the rows from..to that are not newer and whose earlier components are the low ends of
   * their ranges.
   */
  tableScoreHistogram: Whole<
    [
      table: Address,
      ranges: Address,
      first: number,
      component: number,
      bits: number,
      bins: Address,
      version: number,
      from: number,
      to: number,
    ]
  >
  /** The bins in which those of n rows are that lie below `before`; others: `absentPayload`. */
  tableScoreBins: Whole<
    [
      table: Address,
      ranges: Address,
      first: number,
      component: number,
      bits: number,
      version: number,
      rows: Address,
      n: number,
      before: number,
      bins: Address,
    ]
  >
  /**
   * Rows from the cursor to `to` whose score, from component `first` on, is not above the boundary,
   * and their shares. Returns how many it found, at most `max`.
   */
  tableRowsBelow: Whole<
    [
      table: Address,
      boundary: Address,
      first: number,
      version: number,
      shares: number,
      to: number,
      max: number,
      rows: Address,
      shareOf: Address,
    ],
    number
  >
  /** Leaves those of n rows that are not newer, and gives their keys. Returns how many they are. */
  tableUnchanged: Whole<
    [table: Address, version: number, rows: Address, n: number, keys: Address],
    number
  >
}

export type TableKernels = KeyKernels &
  CuckooKernels &
  TableRowKernels &
  TableUpdateKernels &
  TableScanKernels &
  TableRecordKernels &
  TableScoreKernels
