/**
 * Who had the processors while something was measured: on a machine of two, load, service and
 * training want more than there is, and a queue may be of any of them. Threads as Linux names and
 * counts them; elsewhere only the processes as a whole.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

/** Milliseconds of one thread: at work, and ready to but without a processor. */
interface Thread {
  readonly name: string
  readonly ranMs: number
  readonly waitedMs: number
}

/** Shares of one processor's time. */
export interface ProcessorUse {
  readonly generator: number
  /** By name of thread; those of one name together. */
  readonly service: Readonly<Record<string, number>>
  /** The thread that answers. */
  readonly answering: number
  /** It was ready and had no processor. */
  readonly answeringWaited: number
  readonly [name: string]: number | Readonly<Record<string, number>>
}

const share = (ms: number, ofMs: number): number => Math.round((1000 * ms) / ofMs) / 1000

export class ProcessorMeter {
  readonly #processId: number
  readonly #startedAt = performance.now()
  readonly #own = process.cpuUsage()
  readonly #threads: ReadonlyMap<string, Thread>

  /** Of the service with this process id, from now on. */
  constructor(processId: number) {
    this.#processId = processId
    this.#threads = threadsOf(processId)
  }

  read(): ProcessorUse {
    const ms = performance.now() - this.#startedAt
    const { user, system } = process.cpuUsage(this.#own)
    const service: Record<string, number> = {}
    let [answering, answeringWaited] = [0, 0]
    for (const [id, thread] of threadsOf(this.#processId)) {
      const before = this.#threads.get(id)
      const ran = share(thread.ranMs - (before?.ranMs ?? 0), ms)
      if (ran > 0) service[thread.name] = share((service[thread.name] ?? 0) + ran, 1)
      if (id === String(this.#processId)) {
        answering = ran
        answeringWaited = share(thread.waitedMs - (before?.waitedMs ?? 0), ms)
      }
    }
    return { generator: share((user + system) / 1000, ms), service, answering, answeringWaited }
  }
}

/** By id. A thread that ends meanwhile is left out. */
function threadsOf(processId: number): Map<string, Thread> {
  const folder = `/proc/${processId}/task`
  const threads = new Map<string, Thread>()
  if (!existsSync(`${folder}/${processId}/schedstat`)) return threads
  for (const id of readdirSync(folder)) {
    try {
      const [ran, waited] = readFileSync(`${folder}/${id}/schedstat`, 'utf8').split(' ').map(Number)
      const name = readFileSync(`${folder}/${id}/comm`, 'utf8').trim()
      threads.set(id, { name, ranMs: (ran ?? 0) / 1e6, waitedMs: (waited ?? 0) / 1e6 })
    } catch {
      continue
    }
  }
  return threads
}
