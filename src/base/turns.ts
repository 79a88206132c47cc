/**
 * Turns of this thread's event loop for work that can wait. Of all who ask for one each gets it
 * alone, in the order in which they asked, and between two of them sockets are read and requests
 * are answered: of four tasks with a millisecond's work each, a request then waits for one.
 */
const waiting: (() => void)[] = []
let isScheduled = false

/** Resolves in a turn that is the caller's until it waits for something else. */
export function backgroundTurn(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  waiting.push(resolve)
  schedule()
  return promise
}

function schedule(): void {
  if (isScheduled || waiting.length === 0) return
  isScheduled = true
  setImmediate(() => {
    isScheduled = false
    waiting.shift()?.()
    schedule()
  })
}
