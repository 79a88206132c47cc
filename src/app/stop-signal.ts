/**
 * SIGINT and SIGTERM: the first asks for a graceful stop, the second ends the process at once with the
 * shell's code for it.
 */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

export interface StopSignal extends Disposable {
  readonly signal: AbortSignal
  /** Resolves at the first signal. */
  readonly requested: Promise<void>
}

export function stopSignal(): StopSignal {
  const abort = new AbortController()
  const { promise: requested, resolve } = Promise.withResolvers<undefined>()
  const onSignal = (name: keyof typeof exitCodes): void => {
    if (abort.signal.aborted) process.exit(exitCodes[name])
    abort.abort()
    resolve(undefined)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return {
    signal: abort.signal,
    requested,
    [Symbol.dispose]() {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
    },
  }
}
