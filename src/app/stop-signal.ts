/**
 * SIGINT and SIGTERM: the first asks for a graceful stop, the second ends the process at once with
 * the shell's code for it.
 */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

export interface StopSignal extends Disposable {
  readonly signal: AbortSignal
}

export function stopSignal(): StopSignal {
  const abort = new AbortController()
  const onSignal = (name: keyof typeof exitCodes): void => {
    if (abort.signal.aborted) process.exit(exitCodes[name])
    abort.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return {
    signal: abort.signal,
    [Symbol.dispose]() {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
    },
  }
}

/** Resolves when the signal has come. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
