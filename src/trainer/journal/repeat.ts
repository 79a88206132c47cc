/** To do again what a journal says, as a trainer that starts does, and one that stands by. */
import type { EventLogReader, Position } from '../../stream/event-log.ts'
import type { Event } from '../../stream/event.ts'
import { type JournalEntry, runsOf } from '../../stream/files/journal.ts'
import type { EventCursor } from '../event-cursor.ts'

/** Whether an entry begins where the state stands: another trainer's may not. */
export function continuesFrom(position: Position, entry: JournalEntry): boolean {
  if (entry.kind !== 'batch') return true
  return Object.entries(entry.from).every(
    ([partition, offset]) => (position[Number(partition)] ?? offset) === offset,
  )
}

/** Whether a log that ends at `end` reaches a position. */
export const reaches = (
  log: Pick<EventLogReader, 'compare'>,
  end: Position,
  position: Position,
): boolean =>
  Object.entries(position).every(
    ([partition, offset]) => log.compare(offset, end[Number(partition)] ?? '') <= 0,
  )

/** The events of a batch, in the order in which partitions took turns. They must be there. */
export async function eventsOf(
  entry: Extract<JournalEntry, { kind: 'batch' }>,
  cursor: EventCursor,
): Promise<readonly Event[]> {
  const events: Event[] = []
  for (const [partition, count] of runsOf(entry)) {
    for (let i = 0; i < count; i += 1) events.push(await cursor.nextOf(partition))
  }
  return events
}
