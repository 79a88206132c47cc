/** What is said of the guard: its refusals, and that a refused batch is kept to be looked at. */
import type { GuardTrip } from './guard.ts'
import { quarantine, type RefusedBatch } from './quarantine.ts'
import type { TrainerReport } from './trainer-status.ts'

type Report = (report: TrainerReport) => void

interface GuardedBatch extends Omit<RefusedBatch, 'trip'> {
  readonly loss: number
  /** Absent: it was accepted. */
  readonly trip: GuardTrip | undefined
  /** The guard takes the stream to have changed. */
  readonly restarted: boolean
}

/** `directory` absent: what is refused is only reported. */
export function reportGuard(
  { trip, restarted, ...batch }: GuardedBatch,
  directory: string | undefined,
  report: Report,
): void {
  if (trip !== undefined) reportRefused({ ...batch, trip }, directory, report)
  if (!restarted) return
  const message = 'losses have been high for so long that they are taken for the ordinary'
  const details = { step: batch.step, loss: String(batch.loss) }
  report({ level: 'error', code: 'guardRestarted', message, details })
}

/** Refusals in a row that are all told; of more only every one that makes them twice as many. */
const manyInRow = 16

const isWorthSaying = ({ inRow }: GuardTrip): boolean =>
  inRow < manyInRow || Number.isInteger(Math.log2(inRow))

function reportRefused(
  batch: RefusedBatch & { readonly loss: number },
  directory: string | undefined,
  report: Report,
): void {
  const { step, trip, loss } = batch
  const details = { step, reason: trip.reason, loss: String(loss), limit: String(trip.limit) }
  const message = `batch ${step} was refused and has changed nothing: ${trip.reason}`
  if (isWorthSaying(trip)) report({ level: 'warn', code: 'batchQuarantined', message, details })
  if (trip.repeated && trip.inRow < manyInRow) {
    const row = `${trip.inRow} batches in a row were refused`
    report({ level: 'error', code: 'guardRepeated', message: row, details })
  }
  if (directory === undefined) return
  quarantine(directory, batch).catch((error: unknown) => {
    const text = `a refused batch could not be kept: ${String(error)}`
    report({ level: 'warn', code: 'quarantineFailed', message: text, details: { directory } })
  })
}
