/** What a trainer's status says of its version to whoever compares versions. */
import type { VersionView } from '../../serving/versions/versions-desk.ts'
import type { TrainerStatus } from '../../trainer/trainer-status.ts'

export type Learning = Required<Pick<VersionView, 'training' | 'evaluation'>>

/** `lagEvents`: of the log, what it has not learned yet. */
export const learningOf = (status: TrainerStatus, lagEvents: number): Learning => ({
  training: {
    steps: status.step,
    examples: status.examples,
    lagEvents,
    loss: status.meanLoss,
    guardTrips: status.guardTrips,
    rows: status.tables.reduce((sum, { rows }) => sum + rows, 0),
    tableBytes: status.tables.reduce((sum, { bytes }) => sum + bytes, 0),
  },
  evaluation: status.evaluation.window,
})
