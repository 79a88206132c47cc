/**
 * Service and generator each on processors of their own. On a machine of two the generator of an
 * overload otherwise takes the processor that the service would answer it with.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'

export interface Placement {
  /** What stands in the report. */
  readonly words: string
  /** Lets both run everywhere again. */
  undo(): void
}

/** With all their threads; by `taskset`, so on Linux. */
function place(processId: number, processors: string): void {
  execFileSync('taskset', ['-a', '-c', '-p', processors, String(processId)], { stdio: 'ignore' })
}

/** The last processor is the generator's (this process), the others are the service's. */
export function placeApart(serviceId: number): Placement {
  const last = availableParallelism() - 1
  if (last === 0) return { words: 'shared: one processor', undo: () => undefined }
  const placed: number[] = []
  const undo = (): void => {
    for (const id of placed.splice(0)) place(id, `0-${last}`)
  }
  const move = (id: number, processors: string): void => {
    place(id, processors)
    placed.push(id)
  }
  try {
    move(serviceId, `0-${last - 1}`)
    move(process.pid, String(last))
    return { words: `apart: service on 0-${last - 1}, generator on ${last}`, undo }
  } catch {
    undo()
    return { words: 'shared: taskset did not place both', undo }
  }
}
