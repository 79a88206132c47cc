/**
 * One seeded run of the crash test of many processes: feed over HTTP, faults one after the other
 * and one into the other, feed on; then the verdict.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { seededRandom } from '../../../src/base/random.ts'
import type { EventLogReader } from '../../../src/stream/event-log.ts'
import { openKafkaLog } from '../../../src/stream/kafka/kafka-log.ts'
import { ChaosFeed } from '../chaos-feed.ts'
import type { RunResult } from '../chaos-run.ts'
import {
  judgeLog,
  type LogVerdict,
  replayedState,
  savedState,
  type State,
} from '../chaos-verdict.ts'
import { type FaultName, faults, type Scene } from './chaos-faults.ts'
import { ChaosFleet, fleetConfig } from './chaos-fleet.ts'
import type { ChaosMember } from './chaos-member.ts'
import { ChaosProber } from './chaos-prober.ts'
import type { ChaosServers } from './chaos-servers.ts'
import { compareReplica, type ReplicaVerdict } from './replica-verdict.ts'

export interface DistributedResult extends RunResult {
  readonly faults: readonly FaultName[]
  readonly answered: number
  readonly reasons: readonly string[]
}

export interface DistributedOptions {
  readonly servers: ChaosServers
  /** In this order, each beginning while the one before may still go on. */
  readonly faults: readonly FaultName[]
  readonly onLog: (line: string) => void
}

/** A broker of a busy machine may need a minute to be there again. */
const limitMs = 180_000
const lookMs = 50
/** Of one of two that feed, between two requests. */
const feedPauseMs = 15

export async function distributedRun(
  seed: number,
  { servers, faults: drawn, onLog }: DistributedOptions,
): Promise<DistributedResult> {
  const random = seededRandom(seed, 0xd157)
  const topic = await servers.makeReady()
  const log = await openKafkaLog({ brokers: [servers.broker.address], topic })
  // Every checkpoint full, or deltas between two of them.
  const fullEvery = `process.checkpoints.fullEvery=${1 + (seed % 4)}`
  const fleet = new ChaosFleet(servers, topic, { onLog, more: [fullEvery] })
  try {
    const scene = { fleet, servers, random }
    const run = new DistributedRun(seed, { scene, log, onLog })
    return { seed, ...(await run.play(drawn)) }
  } finally {
    servers.heal()
    await log.close()
    await fleet[Symbol.asyncDispose]()
    await servers.forget(topic)
  }
}

interface RunParts {
  readonly scene: Scene
  readonly log: EventLogReader
  readonly onLog: (line: string) => void
}

class DistributedRun {
  readonly #scene: Scene
  readonly #feed: ChaosFeed
  readonly #log: EventLogReader
  readonly #onLog: (line: string) => void
  #isFeeding = true

  constructor(seed: number, { scene, log, onLog }: RunParts) {
    this.#scene = scene
    this.#feed = new ChaosFeed(seed)
    this.#log = log
    this.#onLog = onLog
  }

  async play(drawn: readonly FaultName[]): Promise<Omit<DistributedResult, 'seed'>> {
    const { fleet } = this.#scene
    // Of nothing: with it the journal is kept from there on.
    await this.#until('a first checkpoint', () => fleet.checkpoints.areThere())
    const prober = await this.#live(drawn)
    const verdict = await judgeLog(this.#log, this.#feed.acknowledged, fleetConfig())
    await this.#settle(verdict)
    await prober.stop()
    const result = await this.#judge(verdict)
    const { unanswered, answered } = prober
    const reasons = [...result.reasons, ...unanswered.slice(0, 5)]
    const kills = drawn.reduce((sum, name) => sum + faults[name].kills, 0)
    return { ...result, kills, faults: drawn, answered, unanswered: unanswered.length, reasons }
  }

  /** Feeds from before the first fault to after the last. */
  async #live(drawn: readonly FaultName[]): Promise<ChaosProber> {
    const { replicas } = this.#scene.fleet
    const feeding = Promise.all([this.#feedOn(), this.#feedOn()])
    // Awaited below, whatever else fails before it.
    feeding.catch(() => undefined)
    try {
      await this.#until('replicas answer', () => this.#allAnswer())
      const prober = new ChaosProber(replicas)
      await this.#strike(drawn)
      return prober
    } finally {
      this.#isFeeding = false
      await feeding
    }
  }

  async #allAnswer(): Promise<boolean> {
    for (const { life, client } of this.#scene.fleet.replicas) {
      if (!life.hasBeenReady || life.isEnded) return false
      const answer = await client?.recommend('user-1', { n: 1 })
      if (answer?.items.length !== 1) return false
    }
    return true
  }

  async #strike(drawn: readonly FaultName[]): Promise<void> {
    const { random } = this.#scene
    const striking: Promise<void>[] = []
    for (const name of drawn) {
      await sleep(200 + random.integer(1_500))
      striking.push(this.#strikeOne(name))
    }
    await Promise.all(striking)
    await sleep(random.integer(1_000))
  }

  async #strikeOne(name: FaultName): Promise<void> {
    this.#onLog(`begins: ${name}`)
    await faults[name].strike(this.#scene)
    this.#onLog(`is over: ${name}`)
  }

  /** One request after the other, to whoever takes events; all that is in doubt is sent again. */
  async #feedOn(): Promise<void> {
    const { fleet } = this.#scene
    let takenAt = performance.now()
    while (this.#isFeeding || this.#feed.inDoubt > 0) {
      const { client } = fleet.member('ingest')
      if (client === undefined) await sleep(lookMs)
      else if (await this.#send(client)) takenAt = performance.now()
      await sleep(feedPauseMs)
      if (performance.now() > takenAt + limitMs) throw new Error('events are refused for too long')
    }
  }

  /** Whether they were taken. */
  async #send(client: {
    sendEvents: (events: readonly object[]) => Promise<unknown>
  }): Promise<boolean> {
    const batch = this.#feed.next()
    try {
      await client.sendEvents(batch)
      this.#feed.answered(batch)
      return true
    } catch {
      this.#feed.unanswered(batch)
      await sleep(lookMs)
      return false
    }
  }

  /** Everybody has folded all, and the active trainer has learned from it. */
  async #settle({ events }: LogVerdict): Promise<void> {
    const { fleet } = this.#scene
    const has = async (name: 'facts' | 'trainer', members: typeof fleet.members) => {
      for (const { client } of members) {
        const metrics = await client?.metrics().catch(() => undefined)
        if (metrics?.get(`freshet_${name}_events_total`) !== events) return false
      }
      return true
    }
    await this.#until('replicas have folded all', () => has('facts', fleet.replicas))
    await this.#until('all is learned', async () => {
      const active = await fleet.activeTrainer()
      return active !== undefined && (await has('trainer', [active]))
    })
    // Who takes everything anew needs the trainer, which is told to stop next.
    await this.#until('replicas follow', () => this.#allFollow())
    await this.#until('jobs run', async () => {
      const metrics = await fleet
        .member('jobs')
        .client?.metrics()
        .catch(() => undefined)
      return (metrics?.get('freshet_jobs_finished_total{job="restrict",state="done"}') ?? 0) > 0
    })
    // Now, not once: a trainer that has just lost its lease is about to end by itself.
    await this.#until('all are there', async () => {
      const ready = fleet.members.map(async ({ client }) => client?.isReady().catch(() => false))
      return (await Promise.all(ready)).every((isReady) => isReady === true)
    })
  }

  async #allFollow(): Promise<boolean> {
    const { fleet } = this.#scene
    const active = await fleet.activeTrainer()
    const published = await syncValue(active, 'published_sequence_deltas')
    const applied = fleet.replicas.map((replica) => syncValue(replica, 'sequence_deltas'))
    return (
      published !== undefined && (await Promise.all(applied)).every((value) => value === published)
    )
  }

  async #judge(verdict: LogVerdict) {
    const { fleet } = this.#scene
    const { last, reasons } = await this.#stopTrainers()
    const config = fleetConfig()
    const directory = await fleet.checkpoints.gathered(last)
    const [saved, replayed] = [
      await savedState(directory, config),
      await replayedState(this.#log, directory, config),
    ]
    const isSame = saved.digest === replayed.digest && saved.events === verdict.events
    if (!isSame) reasons.push(differenceOf(saved, replayed, verdict))
    const replicas = await Promise.all(
      fleet.replicas.map((replica) => compareReplica(replica, { saved, verdict })),
    )
    reasons.push(...replicas.flatMap((found) => found.reasons))
    const total = (name: keyof Omit<ReplicaVerdict, 'reasons'>): number =>
      replicas.reduce((sum, found) => sum + found[name], 0)
    const { lost, doubled, events, interactions } = verdict
    return {
      events,
      lost: lost + total('lost') + Math.max(0, interactions - saved.interactions),
      doubled: doubled + total('doubled') + Math.max(0, saved.interactions - interactions),
      digestMismatches: isSame ? 0 : 1,
      rowDifferences: total('rowDifferences'),
      ghosts: total('ghosts'),
      reasons,
    }
  }

  /**
   * The standby first: it shall not take over. Who was active, and what ended although nobody told
   * it to.
   */
  async #stopTrainers(): Promise<{ readonly last: string; readonly reasons: string[] }> {
    const { fleet } = this.#scene
    const active = await fleet.activeTrainer()
    const standbys = fleet.trainers.filter((trainer) => trainer !== active)
    const reasons: string[] = []
    for (const member of [fleet.member('jobs'), ...standbys, ...(active ? [active] : [])]) {
      const code = await member.end('SIGTERM')
      const { client, lastWords } = member.life
      // One that stood still for longer than its lease has another in its place, and ends.
      const isFenced = code === 1 && lastWords.includes('LEASE_LOST')
      if (code !== 0 && !isFenced) {
        const when = client === undefined ? 'before it listened' : `after: ${lastWords}`
        reasons.push(`${member.name} ended with ${code} when it was told to stop, ${when}`)
      }
    }
    for (const { name, ownEnds } of [...fleet.replicas, fleet.member('ingest')]) {
      if (ownEnds.length > 0) reasons.push(`${name} ended by itself: ${ownEnds.join(', ')}`)
    }
    return { last: (active ?? fleet.trainers[0]).name, reasons }
  }

  async #until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
    const limit = performance.now() + limitMs
    while (!(await isSo())) {
      if (performance.now() > limit) throw new Error(`${what}: not within ${limitMs} ms`)
      await sleep(lookMs)
    }
  }
}

const syncValue = async (member: ChaosMember | undefined, name: string) =>
  (await member?.client?.metrics().catch(() => undefined))?.get(`freshet_sync_${name}`)

const differenceOf = (saved: State, replayed: State, { events }: LogVerdict): string =>
  `saved ${saved.digest} of ${saved.events} events and ${saved.examples} examples, ` +
  `replayed ${replayed.digest} of ${replayed.events} and ${replayed.examples}; log ${events}`
