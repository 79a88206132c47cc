/**
 * What the trainer is told: plain data, so that it can be handed to a worker thread. `TrainerModel`
 * decides what is learned and must agree in every process and with every checkpoint;
 * `TrainerProcess` may change from start to start without changing a bit of the result.
 */
import type { TableSpec } from '../embedding/table-spec.ts'
import type { ModelSpec } from '../model/spec.ts'
import type { FactsOptions } from '../stream/facts/facts.ts'
import type { CopiesOptions } from './checkpoint/open-copies.ts'
import type { EvaluationOptions } from './evaluation/evaluator.ts'
import type { FarRowsOptions } from './far-rows.ts'
import type { GuardOptions } from './guard.ts'
import type { ReplayOptions } from './reservoir.ts'

interface BatchOptions {
  /** A batch is cut at this many examples. */
  readonly maxExamples: number
  /**
   * Or when its first event has waited this long, in milliseconds; a replay cuts by count alone.
   */
  readonly maxAgeMs: number
}

export interface TrainerModel {
  readonly spec: ModelSpec
  readonly tables: readonly TableSpec[]
  readonly facts: FactsOptions
  readonly batch: BatchOptions
  /** Absent: every example is trained on once. */
  readonly replay?: ReplayOptions
  readonly evaluation: EvaluationOptions
  /** Absent: its defaults. */
  readonly guard?: Partial<GuardOptions>
}

export interface CheckpointOptions {
  readonly directory: string
  /** Between two checkpoints, in milliseconds; 0: only when asked and at the end. */
  readonly intervalMs: number
  /** Older ones are removed, but for those that these are deltas to. */
  readonly keep: number
  /** Of so many one is full, the others hold of tables what has changed since; default 1. */
  readonly fullEvery?: number
  /** Where they are written before they are put in place; absent: `directory`. */
  readonly workshop?: string
}

export interface TrainerProcess {
  /** Threads of the dense kernels and of the evaluation, this one included. */
  readonly threads: number
  readonly kernels: 'wasm' | 'reference'
  /**
   * How far the trainer's thread stands behind the others when there are more of them than
   * processors, 0..19; on Linux alone, where a thread has a priority of its own. Default 0.
   */
  readonly niceness?: number
  /** Between two deltas, in milliseconds. */
  readonly deltaIntervalMs: number
  /** One is made earlier when so many rows of a table have changed; default: never. */
  readonly deltaMaxRows?: number | undefined
  /** Events read from the log at once. */
  readonly readMaxEvents: number
  /** Of a replay: see `LearnerOptions.deltaIntervalMs`. */
  readonly evaluationDeltaMs?: number | undefined
  /** Absent: nothing is kept, every start is from the beginning of the log. */
  readonly checkpoints?: CheckpointOptions
  /** For trainers that share no folder, in the distributed shape; absent: they share it. */
  readonly copies?: CopiesOptions
  /** Tables whose rows do not all fit in memory; absent: there are none. */
  readonly farRows?: FarRowsOptions
  /** Where batch boundaries are recorded; absent: batches are cut by count alone. */
  readonly journalDirectory?: string
  /** Where a journal is written that takes the place of the one there; absent: beside it. */
  readonly journalWorkshop?: string
  /** Where batches that the guard refused are written; absent: only reported. */
  readonly quarantineDirectory?: string
}
