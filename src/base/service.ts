/**
 * The life cycle of everything that runs: `start` resolves when it is ready to be used, `drain`
 * refuses new work and finishes what was begun, `stop` releases what it holds. Each is called once,
 * in that order; `stop` may follow a failed `start`.
 */
export interface Service {
  readonly name: string
  start(signal: AbortSignal): Promise<void>
  drain(): Promise<void>
  stop(): Promise<void>
}

/** Starts in the order given; what was started before a failure is stopped again, last first. */
export async function startAll(services: readonly Service[], signal: AbortSignal): Promise<void> {
  const started: Service[] = []
  try {
    for (const service of services) {
      started.push(service)
      await service.start(signal)
    }
  } catch (error) {
    await stopAll(started)
    throw error
  }
}

/**
 * Drains and stops one after the other, last started first; the first error is thrown at the end.
 */
export async function stopAll(services: readonly Service[]): Promise<void> {
  const errors: unknown[] = []
  for (const service of services.toReversed()) {
    for (const verb of ['drain', 'stop'] as const) {
      await service[verb]().catch((error: unknown) => errors.push(error))
    }
  }
  if (errors.length > 0) throw errors[0]
}
