/**
 * The trainer's end of the parameters in Redis: adds deltas to a stream, keeps a snapshot for whom
 * the stream does not reach, and knows where its readers stand. What lies there:
 * "Parameters in Redis" in docs/formats.md.
 *
 * Everything that is repeated after a lost reply is the same entry under the same id, so nothing is
 * there twice; and it is done under the lease, which the server looks at (`redis-sync-scripts.ts`).
 *
 * Invariants: one delta is on its way at a time; none while the pieces of a snapshot are read; of
 * the epoch nothing is in the stream that this end has not added.
 */
import { randomUUID } from 'node:crypto'

import { assert } from '../../base/assert.ts'
import { ServiceError } from '../../base/errors.ts'
import { connectRedis } from '../../redis/redis-connection.ts'
import type { RedisArgument, RedisConnection, RedisSettings } from '../../redis/redis-connection.ts'
import { RedisPatience } from '../../redis/redis-patience.ts'
import { type RedisScript, runScript } from '../../redis/redis-script.ts'
import { chunksOf, maxChunkBytes } from '../delta-chunks.ts'
import { encodeDelta } from '../delta-codec.ts'
import type { Delta } from '../delta.ts'
import type { Fence } from '../fence.ts'
import type { ParameterPublisher } from '../parameter-sync.ts'
import { maxChunks, snapshotOf, snapshotText, type SyncNames, syncNames } from './redis-names.ts'
import { type ReaderStatus, readersOf } from './redis-readers.ts'
import { Retention } from './redis-retention.ts'
import { drawSnapshot, type Pieces } from './redis-snapshot-writer.ts'
import { addScript, beatScript, snapshotChunkScript, snapshotScript } from './redis-sync-scripts.ts'

export interface RedisPublisherOptions {
  /** Whose parameters: part of the names in Redis. */
  readonly model: string
  readonly connection: RedisSettings
  /** Of the trainer's lease. */
  readonly fence: Fence
  /** That the stream keeps for readers; default 10,000. */
  readonly maxDeltas?: number
  /** The same in bytes; default 256 MiB. */
  readonly maxBytes?: number
  /** A newer snapshot is written unasked; default 600,000 ms. */
  readonly snapshotMaxAgeMs?: number
  /** Of a snapshot, in memory until Redis has it; default 256 MiB. */
  readonly snapshotBufferBytes?: number
  /** A reader that is silent for longer holds nothing back; default 60,000 ms. */
  readonly readerTtlMs?: number
  /** From sign of life to sign of life; default 500 ms. */
  readonly beatIntervalMs?: number
  /** Default 2,000 ms. */
  readonly commandTimeoutMs?: number
  /** Of a stream entry or a part of a snapshot, at most 1 MiB; default that. */
  readonly chunkBytes?: number
}

export interface PublisherStatus {
  readonly epoch: number
  readonly sequence: number
  readonly keptDeltas: number
  readonly keptBytes: number
  /** Of the newest whole snapshot; 0: there is none. */
  readonly snapshotSequence: number
  /** Epoch ms. */
  readonly snapshotAt: number
  readonly readers: readonly ReaderStatus[]
  /** Why Redis was not to be had at the last try. */
  readonly failure?: string
}

const defaults = {
  maxDeltas: 10_000,
  maxBytes: 1 << 28,
  snapshotMaxAgeMs: 600_000,
  snapshotBufferBytes: 1 << 28,
  readerTtlMs: 60_000,
  beatIntervalMs: 500,
  commandTimeoutMs: 2_000,
  chunkBytes: maxChunkBytes,
}

/** A snapshot that nobody finishes, or that a newer one has replaced, lasts so long. */
const snapshotTtlMs = 60_000
/** Before a lease that has run out may have been renewed. */
const renewalPauseMs = 50

interface Snapshots {
  sequence: number
  writtenAt: number
  /** As the head names it. */
  id: string
}

export class RedisPublisher implements ParameterPublisher {
  readonly #options: Required<RedisPublisherOptions>
  readonly #names: SyncNames
  readonly #connection: RedisConnection
  readonly #patience: RedisPatience
  readonly #retention: Retention
  readonly #snapshots: Snapshots = { sequence: 0, writtenAt: 0, id: '' }
  readonly #beating: Promise<void>
  #pieces: (() => Pieces) | undefined
  #readers: readonly ReaderStatus[] = []
  /** Sequence last published, whole, or read for a snapshot. */
  #sequence = 0
  /** Deltas, and readings of snapshots, one after the other. */
  #turns: Promise<unknown> = Promise.resolve()
  #writing: Promise<void> | undefined
  #snapshotFailure: string | undefined
  /** The server's, at the last sign of life. */
  #now = 0
  #isFenced = false

  constructor(options: RedisPublisherOptions) {
    this.#options = { ...defaults, ...options }
    const { model, maxDeltas, maxBytes, commandTimeoutMs, chunkBytes } = this.#options
    assert(chunkBytes > 0 && chunkBytes <= maxChunkBytes, 'chunks of at most a MiB')
    this.#names = syncNames(model)
    this.#retention = new Retention({ maxDeltas, maxBytes })
    this.#connection = connectRedis(options.connection)
    this.#patience = new RedisPatience({
      connection: this.#connection,
      timeoutMs: commandTimeoutMs,
      closed: () => new ServiceError('SYNC_CLOSED', { side: 'publisher' }),
      refused: (reason) => new ServiceError('SYNC_REFUSED', { model, reason }),
    })
    this.#beating = this.#beat()
  }

  /**
   * Waits while Redis is not to be had. Throws `SYNC_FENCED` when another one has the lease,
   * `SYNC_REFUSED`, `SYNC_CLOSED`; then it may or may not be there, and nothing that builds on it
   * misleads a reader.
   */
  publish(delta: Delta): Promise<void> {
    return this.#inTurn(() => this.#publish(delta))
  }

  onResync(snapshot: () => Pieces): void {
    this.#pieces = snapshot
  }

  /** As of the last sign of life. */
  status(): PublisherStatus {
    const { fence } = this.#options
    const failure = this.#patience.failure ?? this.#snapshotFailure
    return {
      epoch: fence.epoch,
      sequence: this.#sequence,
      keptDeltas: this.#retention.deltas,
      keptBytes: this.#retention.bytes,
      snapshotSequence: this.#snapshots.sequence,
      snapshotAt: this.#snapshots.writtenAt,
      readers: this.#readers,
      ...(failure !== undefined && { failure }),
    }
  }

  async close(): Promise<void> {
    this.#patience.close()
    await this.#beating
    await this.#writing
  }

  async #publish(delta: Delta): Promise<void> {
    const chunks = chunksOf(encodeDelta(delta), this.#options.chunkBytes)
    assert(chunks.length < maxChunks, 'a delta of at most 65,535 chunks')
    this.#retention.add(
      delta.sequence,
      chunks.reduce((sum, { length }) => sum + length, 0),
    )
    for (let chunk = 0; chunk < chunks.length;) {
      const found = await this.#add(delta, chunks, chunk)
      // What Redis has lost of this delta is added again; of those before, readers find it out.
      const isOfThis = found >= delta.sequence * maxChunks
      chunk = isOfThis ? found - delta.sequence * maxChunks + 1 : 0
    }
    this.#sequence = delta.sequence
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#turns.then(work)
    this.#turns = done.catch(() => undefined)
    return done
  }

  /** Adds a chunk and returns the number of the last one there. */
  async #add(delta: Delta, chunks: readonly Buffer[], chunk: number): Promise<number> {
    const { sequence, base } = delta
    const number = sequence * maxChunks + chunk
    const isLast = chunk === chunks.length - 1
    const [word, last, wanted] = await this.#guarded(
      addScript,
      [this.#names.deltas],
      [
        number,
        chunk === 0 ? '' : number - 1,
        isLast ? sequence : 0,
        base,
        chunks.length,
        this.#retention.oldest(sequence) * maxChunks,
        chunks[chunk],
      ],
    )
    if (word === 'gap') return Number(last)
    this.#consider(String(wanted))
    return number
  }

  async #beat(): Promise<void> {
    try {
      while (!this.#patience.isClosed) {
        await this.#sayAlive()
        await this.#patience.pause(this.#options.beatIntervalMs)
      }
    } catch {
      // Closed, fenced or refused: the next publish says so.
    }
  }

  async #sayAlive(): Promise<void> {
    const { readerTtlMs, snapshotMaxAgeMs, fence } = this.#options
    const oldest = this.#retention.oldest(this.#sequence) * maxChunks
    const { deltas, readers } = this.#names
    const reply = await this.#guarded(beatScript, [deltas, readers], [this.#sequence, oldest])
    const [, time, wanted, snapshot, found] = reply
    const now = Number(time)
    this.#now = now
    const place = snapshotOf(String(snapshot))
    this.#snapshots.id = place?.id ?? ''
    this.#snapshots.sequence = place?.epoch === fence.epoch ? place.sequence : 0
    this.#snapshots.writtenAt = place?.writtenAt ?? 0
    const all = readersOf(found, now)
    this.#readers = all.filter(({ silentMs }) => silentMs <= readerTtlMs)
    await this.#forget(all.filter(({ silentMs }) => silentMs > readerTtlMs))
    this.#release()
    const hasChanged = this.#snapshots.sequence > 0 && this.#sequence > this.#snapshots.sequence
    if (hasChanged && now - this.#snapshots.writtenAt > snapshotMaxAgeMs) {
      this.#consider(`${fence.epoch} ${this.#snapshots.sequence + 1}`)
    }
    this.#consider(String(wanted))
  }

  async #forget(readers: readonly ReaderStatus[]): Promise<void> {
    const names = readers.map(({ reader }) => reader)
    if (names.length === 0) return
    const args = [this.#names.readers, ...names]
    await this.#patience.ask(() => this.#connection.call('HDEL', args))
  }

  /** Lets go of what every reader has and a cold one gets with the snapshot. */
  #release(): void {
    const { epoch } = this.#options.fence
    const confirmed = this.#readers
      .filter((reader) => reader.epoch === epoch && reader.sequence > 0)
      .map(({ sequence }) => sequence)
    this.#retention.release(Math.min(this.#snapshots.sequence, ...confirmed))
  }

  /** A snapshot of some sequence or a later one of some epoch is wanted. */
  #consider(wanted: string): void {
    const [epoch, sequence] = wanted.split(' ').map(Number)
    const pieces = this.#pieces
    if (epoch !== this.#options.fence.epoch || pieces === undefined) return
    if (this.#writing !== undefined || this.#snapshots.sequence >= sequence) return
    this.#writing = this.#tryToWrite(pieces)
  }

  /** What fails is tried again, as long as it is wanted. */
  async #tryToWrite(pieces: () => Pieces): Promise<void> {
    try {
      await this.#writeSnapshot(pieces)
      this.#snapshotFailure = undefined
    } catch (error) {
      this.#snapshotFailure = String(error)
    } finally {
      this.#writing = undefined
    }
  }

  async #writeSnapshot(pieces: () => Pieces): Promise<void> {
    const { fence, chunkBytes, snapshotBufferBytes } = this.#options
    const id = `${fence.epoch}-${randomUUID()}`
    const write = async (index: number, chunk: Buffer): Promise<void> => {
      const args = [index, chunk, snapshotTtlMs]
      const keys = [this.#names.snapshot(id)]
      await this.#patience.ask(() => runScript(this.#connection, snapshotChunkScript, keys, args))
    }
    // The next delta waits until all is read, not until all is written.
    const { written } = await this.#inTurn(async () => {
      const drawing = drawSnapshot(pieces(), {
        chunkBytes,
        bufferBytes: snapshotBufferBytes,
        write,
      })
      this.#sequence = Math.max(this.#sequence, await drawing.drawn)
      return drawing
    })
    const { sequence, chunks } = await written
    if (chunks > 0) await this.#announce(id, sequence, chunks)
  }

  async #announce(id: string, sequence: number, chunks: number): Promise<void> {
    const { epoch } = this.#options.fence
    const writtenAt = this.#now
    const text = snapshotText({ id, epoch, sequence, chunks, writtenAt })
    const { deltas } = this.#names
    const keys = [deltas, this.#names.snapshot(id), this.#names.snapshot(this.#snapshots.id || id)]
    // A part that Redis has lost: a reader asks again.
    const reply = await this.#guarded(snapshotScript, keys, [sequence, text, chunks, snapshotTtlMs])
    if (reply[0] === 'gap') return
    Object.assign(this.#snapshots, { id, sequence, writtenAt })
    this.#release()
  }

  /** A guarded script; waits while nobody has the lease. */
  async #guarded(
    script: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<readonly unknown[]> {
    const { fence, model } = this.#options
    const { lease, head } = this.#names
    const all = [lease, head, ...keys]
    for (;;) {
      if (this.#isFenced) throw new ServiceError('SYNC_FENCED', { model, epoch: fence.epoch })
      const reply = await this.#patience.ask(() =>
        runScript(this.#connection, script, all, [fence.epoch, fence.token, ...args]),
      )
      const parts = Array.isArray(reply) ? reply : []
      const word = String(parts[0])
      if (word === 'done' || word === 'gap') return [word, ...parts.slice(1)]
      this.#isFenced = word === 'fenced'
      if (!this.#isFenced) await this.#patience.pause(renewalPauseMs)
    }
  }
}
