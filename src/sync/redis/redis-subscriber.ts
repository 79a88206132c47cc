/**
 * A reader's end of the parameters in Redis: follows the stream of deltas, says where it stands,
 * and starts from the newest snapshot where the stream does not lead on from there. It learns of a
 * gap in two ways: a delta that builds on one that it does not have, and a trainer that is further
 * than the stream (its end was lost).
 *
 * Invariants: `#place` is where the reader stands with everything applied; its sequence is 0 from
 * the first piece of a snapshot to its last. Epochs never go down.
 */
import { randomUUID } from 'node:crypto'

import { ServiceError } from '../../base/errors.ts'
import { connectRedis } from '../../redis/redis-connection.ts'
import type { RedisArgument, RedisConnection, RedisSettings } from '../../redis/redis-connection.ts'
import { RedisPatience } from '../../redis/redis-patience.ts'
import { type RedisScript, runScript } from '../../redis/redis-script.ts'
import { ChainJoiner } from '../delta-chunks.ts'
import { decodeDelta } from '../delta-codec.ts'
import type { Delta } from '../delta.ts'
import type { ApplyDelta, ParameterSubscriber } from '../parameter-sync.ts'
import { DeltaEntries, entryOf, type StreamEntry } from './redis-entries.ts'
import { entryId, snapshotOf, type SnapshotPlace, syncNames } from './redis-names.ts'
import {
  dropSnapshotScript,
  readChunkScript,
  reportScript,
  wantScript,
} from './redis-sync-scripts.ts'

export interface RedisSubscriberOptions {
  /** Whose parameters: part of the names in Redis. */
  readonly model: string
  readonly connection: RedisSettings
  /** Under which it says where it stands; of this reader alone. Default: a random one. */
  readonly reader?: string
  /** That of the sequence subscribed from; without it the reader starts from a snapshot. */
  readonly epoch?: number
  /** How long to wait for a delta before looking around; default 500 ms. */
  readonly waitMs?: number
  /** Before a snapshot that is wanted is looked for again; default 100 ms. */
  readonly snapshotPollMs?: number
  /** Default 2,000 ms. */
  readonly commandTimeoutMs?: number
}

/** What the trainer's end says. */
interface Head {
  readonly epoch: number
  readonly sequence: number
  readonly snapshot: SnapshotPlace | undefined
  readonly snapshotText: string
}

interface Place {
  readonly epoch: number
  readonly sequence: number
}

const defaults = { waitMs: 500, snapshotPollMs: 100, commandTimeoutMs: 2_000 }
/** Entries of at most a MiB that are read at a time. */
const entriesPerRead = 16
/** A snapshot that is being read lasts so long after each part. */
const snapshotTtlMs = 60_000
/** From report to report while a snapshot is read. */
const chunksPerReport = 64

export class RedisSubscriber implements ParameterSubscriber {
  readonly #options: RedisSubscriberOptions & Readonly<typeof defaults>
  readonly #names: ReturnType<typeof syncNames>
  readonly #connection: RedisConnection
  readonly #patience: RedisPatience
  readonly #reader: string
  #apply: ApplyDelta = () => {}
  #place: Place = { epoch: 0, sequence: 0 }
  readonly #entries = new DeltaEntries(0)
  /** Lowest sequence of a snapshot that leads on to the stream; 0: the reader needs none. */
  #needed = 1
  #ended: Promise<void> = Promise.resolve()
  #isLeaving = false

  constructor(options: RedisSubscriberOptions) {
    this.#options = { ...defaults, ...options }
    const { model, commandTimeoutMs } = this.#options
    this.#reader = options.reader ?? randomUUID()
    this.#names = syncNames(model)
    this.#connection = connectRedis(options.connection)
    this.#patience = new RedisPatience({
      connection: this.#connection,
      timeoutMs: commandTimeoutMs,
      closed: () => new ServiceError('SYNC_CLOSED', { side: 'subscriber' }),
      refused: (reason) => new ServiceError('SYNC_REFUSED', { model, reason }),
    })
  }

  /** Why Redis was not to be had at the last try; undefined: it was. */
  get failure(): string | undefined {
    return this.#patience.failure
  }

  /** Ends when it is closed; rejects with what `apply` throws, and `SYNC_REFUSED`. */
  subscribe(fromSequence: number, apply: ApplyDelta): Promise<void> {
    const { epoch = 0 } = this.#options
    this.#apply = apply
    if (epoch > 0 && fromSequence > 0) this.#standAt({ epoch, sequence: fromSequence })
    this.#ended = this.#follow()
    return this.#ended
  }

  /** Waits for what is being applied. */
  async close(): Promise<void> {
    this.#isLeaving = true
    const { waitMs, commandTimeoutMs } = this.#options
    const ended = this.#ended.catch(() => undefined)
    await Promise.race([ended, this.#patience.pause(waitMs + commandTimeoutMs)])
    this.#patience.close()
    await this.#ended.catch(() => undefined)
  }

  async #follow(): Promise<void> {
    try {
      while (!this.#isLeaving) await this.#step()
      await this.#leave()
    } catch (error) {
      const isOver = error instanceof ServiceError && error.code === 'SYNC_CLOSED'
      if (!isOver || !this.#isLeaving) throw error
    } finally {
      this.#patience.close()
    }
  }

  async #step(): Promise<void> {
    const head = await this.#report(this.#place)
    // No trainer yet, or a server that was left behind: what it has is older than what is here.
    if (head.epoch === 0 || head.epoch < this.#place.epoch) {
      await this.#patience.pause(this.#options.waitMs)
      return
    }
    if (head.epoch > this.#place.epoch) this.#needed = await this.#firstNeeded(head)
    if (this.#needed > 0) await this.#resync(head)
    else await this.#read(head)
  }

  /** The next entries; nothing, though the trainer has come further: they are lost. */
  async #read(head: Head): Promise<void> {
    const { waitMs } = this.#options
    const from = entryId({ ...this.#entries.last, epoch: this.#place.epoch })
    const args = ['COUNT', entriesPerRead, 'BLOCK', waitMs, 'STREAMS', this.#names.deltas, from]
    const reply = await this.#patience.ask(() => this.#connection.call('XREAD', args), waitMs)
    const entries = entriesOf(reply)
    if (entries.length === 0 && head.sequence > this.#place.sequence) this.#needed = head.sequence
    for (const entry of entries) {
      if (this.#needed > 0 || this.#isLeaving) return
      await this.#take(entry)
    }
  }

  async #take(entry: StreamEntry): Promise<void> {
    // The head will say that there is another epoch.
    if (entry.epoch !== this.#place.epoch) return
    const found = this.#entries.add(entry)
    if (found.kind === 'gap') this.#needed = found.needed
    if (found.kind !== 'delta') return
    const delta = decodeOr(found.bytes)
    if (delta === undefined) {
      this.#needed = entry.sequence
      return
    }
    await this.#apply(delta, true)
    this.#standAt({ epoch: entry.epoch, sequence: delta.sequence })
  }

  async #resync(head: Head): Promise<void> {
    const { epoch, snapshot } = head
    const isFit = snapshot?.epoch === epoch && snapshot.sequence >= this.#needed
    if (isFit && (await this.#loadWhole(snapshot))) return
    if (isFit) await this.#script(dropSnapshotScript, [this.#names.head], [head.snapshotText])
    await this.#script(wantScript, [this.#names.head], [epoch, this.#needed])
    await this.#patience.pause(this.#options.snapshotPollMs)
  }

  /** False where the snapshot is damaged or not whole any more. */
  async #loadWhole(snapshot: SnapshotPlace): Promise<boolean> {
    try {
      return await this.#load(snapshot)
    } catch (error) {
      if (isDamage(error)) return false
      throw error
    }
  }

  async #load(snapshot: SnapshotPlace): Promise<boolean> {
    const { epoch, sequence, chunks } = snapshot
    const keys = [this.#names.snapshot(snapshot.id)]
    const joiner = new ChainJoiner()
    // One delta is held back, to know the last.
    let held: Delta | undefined
    for (let index = 0; index < chunks; index += 1) {
      // What follows the snapshot is kept for this reader meanwhile.
      if (index % chunksPerReport === 0) await this.#report({ epoch, sequence })
      const chunk = await this.#script(readChunkScript, keys, [index, snapshotTtlMs])
      if (!Buffer.isBuffer(chunk)) return false
      for (const delta of joiner.add(chunk)) {
        if (held !== undefined) await this.#applyPart(held)
        held = delta
      }
    }
    joiner.end()
    if (held === undefined) return false
    await this.#apply(held, true)
    this.#standAt({ epoch, sequence })
    return true
  }

  async #applyPart(delta: Delta): Promise<void> {
    this.#place = { epoch: this.#place.epoch, sequence: 0 }
    if (this.#isLeaving) throw new ServiceError('SYNC_CLOSED', { side: 'subscriber' })
    await this.#apply(delta, false)
  }

  #standAt(place: Place): void {
    this.#place = place
    this.#entries.standAt(place.sequence)
    this.#needed = 0
  }

  /** For a reader that has nothing of this epoch: what the oldest delta there builds on. */
  async #firstNeeded({ epoch, sequence }: Head): Promise<number> {
    const args = [this.#names.deltas, `${epoch}-0`, `${epoch}-18446744073709551615`, 'COUNT', 1]
    const reply = await this.#patience.ask(() => this.#connection.call('XRANGE', args))
    const [oldest] = Array.isArray(reply) ? reply.map(entryOf) : []
    return Math.max(1, oldest?.base ?? sequence)
  }

  async #report({ epoch, sequence }: Place): Promise<Head> {
    const { head, readers } = this.#names
    const reply = await this.#script(reportScript, [head, readers], [this.#reader, epoch, sequence])
    const [foundEpoch = '0', foundSequence = '0', snapshotText = ''] = textsOf(reply)
    return {
      epoch: Number(foundEpoch),
      sequence: Number(foundSequence),
      snapshot: snapshotOf(snapshotText),
      snapshotText,
    }
  }

  #script(
    script: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    return this.#patience.ask(() => runScript(this.#connection, script, keys, args))
  }

  /** Nothing needs to be kept for it any more. If that gets lost, its silence says so. */
  async #leave(): Promise<void> {
    const gone = this.#connection.call('HDEL', [this.#names.readers, this.#reader])
    const { waitMs } = this.#options
    await Promise.race([gone.catch(() => undefined), this.#patience.pause(waitMs)])
  }
}

/** Undefined: what lies in Redis is damaged, and a snapshot may not be. */
function decodeOr(bytes: Uint8Array): Delta | undefined {
  try {
    return decodeDelta(bytes)
  } catch (error) {
    if (isDamage(error)) return undefined
    throw error
  }
}

const isDamage = (error: unknown): boolean =>
  error instanceof ServiceError && error.code === 'SYNC_DELTA_DAMAGED'

const textsOf = (reply: unknown): readonly string[] =>
  Array.isArray(reply) ? reply.map(String) : []

/** Of `XREAD` of one stream: by the protocol's version a map as a list, or a list of pairs. */
function entriesOf(reply: unknown): readonly StreamEntry[] {
  if (!Array.isArray(reply)) return []
  const entries: unknown = Array.isArray(reply[0]) ? reply[0][1] : reply[1]
  return Array.isArray(entries) ? entries.map(entryOf) : []
}
