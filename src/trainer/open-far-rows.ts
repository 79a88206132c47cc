/** The rows that do not all fit in memory, as the trainer's process says. */
import type { Clock } from '../base/clock.ts'
import { CheckpointStore } from './checkpoint/checkpoint.ts'
import { FarRows, type OpenRowStore } from './far-rows.ts'
import type { TrainerModel, TrainerProcess } from './trainer-config.ts'
import type { TrainerReport } from './trainer-status.ts'

export interface FarRowsParts {
  readonly model: TrainerModel
  readonly process: TrainerProcess
  readonly clock: Clock
  readonly report?: (report: TrainerReport) => void
  /** Where far rows are; default: as the process says. */
  readonly openStore?: OpenRowStore
}

/** Undefined: all rows are in memory. */
export function openFarRows(options: FarRowsParts): Promise<FarRows> | undefined {
  const { model, process, clock, report = () => {}, openStore } = options
  const { kernels, checkpoints } = process
  if (process.farRows === undefined) return undefined
  return FarRows.open({
    options: process.farRows,
    tables: model.tables,
    kernels,
    clock,
    checkpoints: checkpoints && new CheckpointStore(checkpoints),
    report,
    ...(openStore && { openStore }),
  })
}
