/**
 * A process of the crash test that is started again whenever it has ended, as an orchestrator does:
 * killed by the test, or by itself where that is its right (a trainer that has lost its lease, any
 * that found no broker at its start).
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { ServiceClient } from '../../../src/app/service-client.ts'
import type { NetworkLink } from '../../support/network-link.ts'
import { ChaosService, type ChaosServiceOptions } from '../chaos-service.ts'

/** One process from its start to its end. */
export class Life {
  readonly service: ChaosService
  /** Whether the test has ended it. */
  isEnded = false
  /** Undefined until it listens. */
  client: ServiceClient | undefined
  /** Whether it was ready once: then it answers until its end. */
  hasBeenReady = false
  /** The newest line of its log. */
  lastWords = ''

  constructor(service: ChaosService) {
    this.service = service
  }
}

export interface MemberOptions extends Omit<ChaosServiceOptions, 'onLog'> {
  readonly name: string
  readonly onLog: (line: string) => void
  /** What stands before it; absent: it is spoken to directly. */
  readonly door?: NetworkLink
}

/** Longer where it did not come to listen: its servers are not there. */
const restartPauseMs = { killed: 200, failed: 2_000 }
const readyPauseMs = 50
/** From SIGTERM to the end, on a machine that is busy with other things, too. */
const endLimitMs = 60_000

export class ChaosMember {
  readonly name: string
  readonly #options: MemberOptions
  readonly #living: Promise<void>
  #isOver = false
  #life: Life
  /** Lives that ended by themselves after they had listened: exit code and last words. */
  readonly ownEnds: string[] = []

  constructor(options: MemberOptions) {
    this.name = options.name
    this.#options = options
    this.#life = this.#start()
    this.#living = this.#live()
  }

  /** The present one, or the last. */
  get life(): Life {
    return this.#life
  }

  /** Undefined while it does not listen. */
  get client(): ServiceClient | undefined {
    return this.#life.isEnded ? undefined : this.#life.client
  }

  async kill(): Promise<void> {
    this.#life.isEnded = true
    await this.#life.service.end('SIGKILL')
  }

  /** It is not started again. The exit code; null: it was killed, for it took too long. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    this.#isOver = true
    this.#life.isEnded = true
    const { service } = this.#life
    const killing = setTimeout(() => void service.end('SIGKILL'), endLimitMs)
    const code = await service.end(signal)
    clearTimeout(killing)
    await this.#living
    return code
  }

  async #live(): Promise<void> {
    while (!this.#isOver) {
      const life = this.#life
      const looking = this.#look(life)
      const code = await life.service.exited
      const hasListened = !life.isEnded && life.client !== undefined
      if (hasListened) this.ownEnds.push(`${code}: ${life.lastWords}`)
      life.isEnded = true
      await looking
      if (this.#isOver) return
      await sleep(life.client === undefined ? restartPauseMs.failed : restartPauseMs.killed)
      if (!this.#isOver) this.#life = this.#start()
    }
  }

  #start(): Life {
    const { name, onLog, ...options } = this.#options
    const take = (line: string): void => {
      life.lastWords = line
      onLog(`${name}: ${line}`)
    }
    const life = new Life(new ChaosService({ ...options, onLog: take }))
    return life
  }

  #through(address: string): string {
    const { door } = this.#options
    if (door === undefined) return address
    const url = new URL(address)
    door.target = Number(url.port)
    url.port = String(door.port)
    return url.origin
  }

  async #look(life: Life): Promise<void> {
    const address = await life.service.address()
    if (address === undefined) return
    life.client = new ServiceClient(this.#through(address))
    while (!life.isEnded && !life.hasBeenReady) {
      life.hasBeenReady = await life.client.isReady().catch(() => false)
      if (!life.hasBeenReady) await sleep(readyPauseMs)
    }
  }
}
