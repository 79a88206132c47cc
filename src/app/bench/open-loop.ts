/**
 * Open-loop load: requests leave on a fixed timetable whether or not earlier ones were answered,
 * and each is timed from when it was *due*, so that a server that stalls is charged for all that
 * it kept waiting (no coordinated omission). Millisecond ticks; what is due within a tick leaves
 * together.
 */
import type { Clock } from '../../base/clock.ts'
import type { Latencies } from './latencies.ts'

export interface Stream {
  readonly ratePerSecond: number
  readonly latencies: Latencies
  /** One request; false or a rejection is an error. `index` counts from 0. */
  send(index: number): Promise<boolean>
}

const tickMs = 1

/** Runs the streams side by side for a while, then waits for the answers still due. */
export async function openLoop(
  streams: readonly Stream[],
  { seconds, clock, signal }: { seconds: number; clock: Clock; signal: AbortSignal },
): Promise<void> {
  const startedAt = clock.monotonic()
  const sent = streams.map(() => 0)
  let underWay = 0
  let isSent = false
  const answered = Promise.withResolvers<void>()
  const ended = (): void => {
    underWay -= 1
    if (isSent && underWay === 0) answered.resolve()
  }
  const dispatch = (stream: Stream, index: number): void => {
    const dueAt = startedAt + (index * 1000) / stream.ratePerSecond
    underWay += 1
    void timed(stream, index, () => clock.monotonic() - dueAt).then(ended)
  }
  for (;;) {
    const elapsed = clock.monotonic() - startedAt
    if (elapsed >= seconds * 1000 || signal.aborted) break
    for (const [i, stream] of streams.entries()) {
      const due = (elapsed * stream.ratePerSecond) / 1000
      for (; sent[i] < due; sent[i] += 1) dispatch(stream, sent[i])
    }
    await new Promise((resolve) => setTimeout(resolve, tickMs))
  }
  isSent = true
  if (underWay > 0) await answered.promise
}

async function timed(stream: Stream, index: number, elapsed: () => number): Promise<void> {
  try {
    if (await stream.send(index)) stream.latencies.add(elapsed())
    else stream.latencies.addError()
  } catch {
    stream.latencies.addError()
  }
}
