/** Pauses in the middle of long work, so that what else needs the processor gets it. */
import { setTimeout } from 'node:timers/promises'

import type { Clock } from '../base/clock.ts'
import type { Backlog } from './backlog.ts'
import type { Breathe } from './evaluation/ranker.ts'

/**
 * Pauses as long as it worked, slice by slice: an evaluation then takes half of a processor. Not
 * while there is a backlog: what waits to be learned would only wait longer.
 */
export function breather(clock: Clock, sliceMs: number, backlog: Backlog): Breathe {
  let since = clock.monotonic()
  const pause = async (): Promise<void> => {
    await setTimeout(sliceMs)
    since = clock.monotonic()
  }
  return () => (clock.monotonic() - since < sliceMs || backlog.isBehind ? undefined : pause())
}
