/** What every record of an experiment has in common, wherever it is kept. Pure. */
import * as z from 'zod'

import { digestBytes, digestWords } from '../../base/digest.ts'
import { type Answer, rateOf, type VersionTotals } from '../../serving/versions/experiment.ts'
import type { ExperimentView, WantedAnswers } from '../../serving/versions/versions-desk.ts'

export interface RecordOptions {
  readonly windowMs: number
  readonly maxAnswers: number
  /** Of an answer, remembered. */
  readonly maxItems: number
  /** Of the users, those whose answers are recorded. */
  readonly usersPercent: number
  /** Types of interactions that count; none: all. */
  readonly types: readonly string[]
}

const count = z.int().nonnegative()

/** Counts as they are written down. */
export const totals = z.object({
  answers: count,
  answersTaken: count,
  interactions: count,
  hits: count,
})

const encoder = new TextEncoder()

/** A user in the record: enough to put lines together, and no id. */
export const recordedName = (userId: string): string =>
  digestBytes(encoder.encode(userId)).toString(16).padStart(16, '0')

/** A share of the users that has nothing to do with which version they have. */
export function isRecorded(userId: string, usersPercent: number): boolean {
  if (usersPercent >= 100) return true
  const [, high] = digestWords(encoder.encode(userId))
  return high % 10_000 < usersPercent * 100
}

/** With rates and their intervals. */
export const rowsOf = (
  versions: Readonly<Record<string, VersionTotals>>,
): ExperimentView['versions'] =>
  Object.entries(versions).map(([version, { answers, answersTaken, interactions, hits }]) => {
    const [ctr, hitRate] = [rateOf(answersTaken, answers), rateOf(hits, interactions)]
    return { version, answers, answersTaken, interactions, hits, ctr, hitRate }
  })

export function answerFilter({ userId, requestId }: WantedAnswers): (answer: Answer) => boolean {
  const user = userId === undefined ? undefined : recordedName(userId)
  return (answer) =>
    (user === undefined || answer.user === user) &&
    (requestId === undefined || answer.requestId === requestId)
}
