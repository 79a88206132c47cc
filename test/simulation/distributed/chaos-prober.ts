/** Asks every replica that is alive for recommendations, again and again, with a limit in time. */
import { setTimeout as sleep } from 'node:timers/promises'

import type { Recommended } from '../../../src/app/service-client.ts'
import type { ChaosMember, Life } from './chaos-member.ts'

/** A processor that is shared with many is no fault. */
const limitMs = 5_000
const pauseMs = 30
const users = 60

export class ChaosProber {
  readonly #loops: readonly Promise<void>[]
  #isOver = false
  answered = 0
  /** What a replica said, or did not say, that had been ready and was not killed. */
  readonly unanswered: string[] = []

  constructor(replicas: readonly ChaosMember[]) {
    this.#loops = replicas.map((replica) => this.#loop(replica))
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#loops)
  }

  async #loop(replica: ChaosMember): Promise<void> {
    for (let i = 0; !this.#isOver; i += 1) {
      const { life } = replica
      if (life.hasBeenReady && !life.isEnded) await this.#ask(replica.name, life, i)
      await sleep(pauseMs)
    }
  }

  async #ask(name: string, life: Life, i: number): Promise<void> {
    const from = performance.now()
    try {
      const asked = life.client?.recommend(`user-${1 + (i % users)}`, { n: 10 })
      const answer = await within(asked)
      if (answer === undefined || answer.items.length === 0) throw new Error('no items')
      this.answered += 1
    } catch (error) {
      const ms = Math.round(performance.now() - from)
      if (!life.isEnded) this.unanswered.push(`${name} after ${ms} ms: ${String(error)}`)
    }
  }
}

async function within(asked: Promise<Recommended> | undefined): Promise<Recommended | undefined> {
  const leaving = new AbortController()
  const { signal } = leaving
  const late = sleep(limitMs, undefined, { signal }).then(() => {
    throw new Error('no answer')
  })
  late.catch(() => undefined)
  try {
    return await Promise.race([asked, late])
  } finally {
    leaving.abort()
    asked?.catch(() => undefined)
  }
}
