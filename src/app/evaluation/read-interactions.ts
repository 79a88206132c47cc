/** All interactions of files, in memory: what a protocol that splits and shuffles needs. */
import type { Interaction } from '../../stream/event.ts'
import { RecordedLog, type RecordedLogOptions } from '../../stream/recorded/recorded-log.ts'

export interface ReadResult {
  readonly interactions: readonly Interaction[]
  /** Rows in error, by reason; they are in the rejects file. */
  readonly rejected: Readonly<Record<string, number>>
}

const rowsPerRead = 65_536

/**
 * Each counts as one, whatever rating it carries: the protocols ask whether it happened. Throws
 * `LOG_UNREADABLE`, `RECORDING_COLUMNS`.
 */
export async function readInteractions(options: RecordedLogOptions): Promise<ReadResult> {
  const log = new RecordedLog(options)
  const { signal } = new AbortController()
  const interactions: Interaction[] = []
  try {
    let position = await log.start()
    for (;;) {
      const [batch] = await log.read(position, { maxEvents: rowsPerRead, waitMs: 0, signal })
      if (batch === undefined) break
      const found = batch.events.filter((event) => event.kind === 'interaction')
      interactions.push(...found.map((event) => Object.assign(event, { weight: 1 })))
      position = { [batch.partition]: batch.next }
    }
  } finally {
    await log.close()
  }
  return { interactions, rejected: Object.fromEntries(log.rejected) }
}
