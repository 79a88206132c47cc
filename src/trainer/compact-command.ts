/**
 * Compact on command, between batches: what every batch does a step of, until nothing is left to
 * do. No answer of a table depends on it, so it is not journaled.
 */
import type { Learner } from './learner.ts'
import type { CompactResult } from './trainer-status.ts'

/** Far more than any table takes; what is left then is the batches' to go on with. */
const mostSteps = 1_000_000

/**
 * Yields after each step how far it is, by tables; what follows must come between two batches
 * again.
 */
export async function* compactTables(learner: Learner): AsyncGenerator<number, CompactResult> {
  let steps = 0
  let tables = 0
  for (const table of learner.tables.values()) {
    while (steps < mostSteps && table.compactSome()) {
      steps += 1
      yield tables / learner.tables.size
    }
    tables += 1
  }
  const stats = learner.tableStats()
  return {
    kind: 'compact',
    steps,
    rows: stats.reduce((sum, { rows }) => sum + rows, 0),
    bytes: stats.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}
