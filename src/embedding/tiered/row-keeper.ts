/**
 * Keeps the store of a tiered table in step with its checkpoints, and waits for it.
 *
 * A flush follows a checkpoint that is durable and holds in its redo part what the flush sends:
 * erased keys, rows, and then a mark: the checkpoint's sequence, and a little more after an import
 * into it. A mark that is there vouches for every row written before it. Whenever the store is
 * found to have lost writes that it had confirmed (a server restarted from a file that was a second
 * behind, a fail-over to a replica that was), the redo parts of all checkpoints after the lowest
 * mark are sent again, oldest first. So what the store holds is what the newest checkpoint says, or
 * will be before it is used.
 *
 * A store that does not answer is waited for, however long; that is said, and again every now and
 * then. No row is ever made up.
 */
import type { Clock } from '../../base/clock.ts'
import { ServiceError, type ErrorCode } from '../../base/errors.ts'
import type { Keys } from '../../base/keys.ts'
import { keyCount } from '../../base/keys.ts'
import { dismiss, markOf, pieces, sequenceOf, type Cut, type SavedCut } from './redo.ts'
import type { RowStore } from './row-store.ts'
import type { RowKeeperStatus } from './tier-stats.ts'

/** Something worth a line in the log. */
export interface RowStoreEvent {
  readonly kind: 'waiting' | 'back' | 'wentBack' | 'redone'
  readonly table: string
  readonly message: string
  readonly details: Readonly<Record<string, string | number>>
}

export interface RowKeeperOptions {
  /** Of the table. */
  readonly name: string
  readonly store: RowStore
  readonly clock: Clock
  readonly wait: (ms: number) => Promise<void>
  /** Aborting it ends all waiting: what waits rejects. */
  readonly signal: AbortSignal
  /**
   * The redo part of a checkpoint, undefined if it is gone. Absent: there are no checkpoints, so
   * nothing survives the process, and rows go to the store whenever there must be room.
   */
  readonly saved?: (sequence: number) => SavedCut | undefined
  readonly report: (event: RowStoreEvent) => void
}

/** A table that can be asked to let go of what it has changed. */
export interface Flushable {
  flush(sequence: number): Promise<void>
}

/** Between two tries of a store that says it is there and then is not. */
const pauseMs = 50
/** Between two lines about one that is away. */
const sayEveryMs = 10_000

/** Invariant: what `#exclusive` runs is alone in sending rows and marks. */
export class RowKeeper {
  readonly name: string
  readonly #options: RowKeeperOptions
  readonly #store: RowStore
  /** A mark. */
  #flushed = -1
  #losses = 0
  #flushes = 0
  #flushMs = 0
  #flushedRows = 0
  #waitedMs = 0
  #waiting: Promise<void> | undefined
  #updating: Promise<void> | undefined
  #sending: Promise<void> = Promise.resolve()

  constructor(options: RowKeeperOptions) {
    this.#options = options
    this.name = options.name
    this.#store = options.store
  }

  /** The mark of the rows that the store has: what the next redo part comes after. */
  get flushed(): number {
    return this.#flushed
  }

  /**
   * Before anything else: makes the store what the checkpoint says that the trainer starts from;
   * -1: it starts from nothing, and so must the store. Throws `ROW_STORE_AHEAD`,
   * `ROW_STORE_BEHIND`, `ROW_STORE_OCCUPIED`.
   */
  async open(sequence: number): Promise<void> {
    const { name: table } = this
    const marks = await this.#whenThere(() => this.#store.acceptLoss())
    const highest = Math.max(...marks)
    if (sequence < 0) {
      const rows = await this.#whenThere(() => this.#store.size())
      if (rows > 0 || highest >= 0) throw new ServiceError('ROW_STORE_OCCUPIED', { table, rows })
      return
    }
    const mark = this.#markOf(sequence)
    if (highest > mark) {
      throw new ServiceError('ROW_STORE_AHEAD', { table, mark: highest, sequence })
    }
    this.#flushed = mark
    if (Math.min(...marks) < mark) await this.bringUpToDate()
  }

  /** As the store's `read`, whenever it can. */
  async read(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<void> {
    for (;;) {
      try {
        await this.#whenThere(() => this.#store.read(keys, records, present))
        return
      } catch (error) {
        if (!hasCode(error, 'ROW_STORE_WENT_BACK')) throw error
        await this.bringUpToDate()
      }
    }
  }

  /** Tries once; whether it went well. */
  async readAhead(keys: Keys, records: Uint8Array, present: Uint8Array): Promise<boolean> {
    try {
      await this.#store.read(keys, records, present)
      return true
    } catch {
      // Whoever needs the rows reads them again, and waits.
      return false
    }
  }

  /**
   * Sends a cut whose checkpoint is durable. Resolves when the store has all of it and the mark.
   */
  async flush(sequence: number, cut: () => Cut): Promise<void> {
    const { clock } = this.#options
    const from = clock.monotonic()
    for (;;) {
      const losses = this.#losses
      try {
        const rows = await this.#exclusive(() => this.#send(sequence, cut()))
        if (losses !== this.#losses) continue
        this.#flushed = sequence
        this.#flushedRows += rows
        break
      } catch (error) {
        if (!hasCode(error, 'ROW_STORE_WENT_BACK')) throw error
        await this.bringUpToDate()
      }
    }
    this.#flushes += 1
    this.#flushMs = clock.monotonic() - from
  }

  /** Finds out what the store has lost and sends it again. */
  async bringUpToDate(): Promise<void> {
    this.#updating ??= this.#exclusive(() => this.#redo()).finally(() => {
      this.#updating = undefined
    })
    await this.#updating
  }

  /**
   * The next rows do not fit in memory: where no checkpoints are waited for, the table is flushed.
   */
  async makeRoom(table: Flushable): Promise<void> {
    if (this.#options.saved === undefined) await table.flush(this.#flushed + 1)
  }

  status(): RowKeeperStatus {
    return {
      state: this.#store.state,
      flushed: sequenceOf(this.#flushed),
      flushes: this.#flushes,
      flushMs: this.#flushMs,
      flushedRows: this.#flushedRows,
      losses: this.#losses,
      waitedMs: this.#waitedMs,
    }
  }

  async close(): Promise<void> {
    await this.#store.close()
  }

  async #redo(): Promise<void> {
    for (;;) {
      try {
        await this.#redoLost()
        return
      } catch (error) {
        if (!hasCode(error, 'ROW_STORE_WENT_BACK')) throw error
      }
    }
  }

  async #redoLost(): Promise<void> {
    const lowest = Math.min(...(await this.#whenThere(() => this.#store.acceptLoss())))
    if (lowest >= this.#flushed) return
    this.#losses += 1
    this.#say('wentBack', 'the row store has lost its last writes', { mark: lowest })
    const cuts = this.#since(lowest)
    for (const [mark, cut] of cuts) await this.#send(mark, cut)
    const details = { mark: this.#flushed, flushes: cuts.length }
    this.#say('redone', 'the row store has again what it had lost', details)
  }

  #markOf(sequence: number): number {
    const cut = this.#options.saved?.(sequence)
    if (cut === undefined) return sequence
    dismiss(cut)
    return markOf(sequence, cut)
  }

  /** The cuts that come after a mark, oldest first. Throws `ROW_STORE_BEHIND`. */
  #since(lowest: number): readonly (readonly [mark: number, cut: SavedCut])[] {
    const cuts: [number, SavedCut][] = []
    for (let mark = this.#flushed; mark > lowest;) {
      const sequence = sequenceOf(mark)
      const cut = this.#options.saved?.(sequence)
      if (cut === undefined) {
        throw new ServiceError('ROW_STORE_BEHIND', { table: this.name, mark: lowest, sequence })
      }
      cuts.unshift([mark, cut])
      mark = cut.previous
    }
    return cuts
  }

  /** Returns how many rows it wrote. */
  async #send(mark: number, { erased, recordBytes, records }: Cut): Promise<number> {
    let rows = 0
    if (keyCount(erased) > 0) await this.#whenThere(() => this.#store.erase(erased))
    for (const chunk of records) {
      for (const piece of pieces(chunk, recordBytes)) {
        await this.#whenThere(() => this.#store.write(piece))
        rows += piece.length / recordBytes
      }
    }
    await this.#whenThere(() => this.#store.mark(mark))
    return rows
  }

  async #exclusive<Result>(run: () => Promise<Result>): Promise<Result> {
    const before = this.#sending
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#sending = promise
    try {
      await before
      return await run()
    } finally {
      resolve()
    }
  }

  /** The same call again and again while the store is away. */
  async #whenThere<Result>(call: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await call()
      } catch (error) {
        if (!hasCode(error, 'ROW_STORE_UNAVAILABLE')) throw error
        this.#options.signal.throwIfAborted()
        this.#waiting ??= this.#waitForStore(String(error)).finally(() => {
          this.#waiting = undefined
        })
        await this.#waiting
      }
    }
  }

  async #waitForStore(reason: string): Promise<void> {
    const { clock, wait, signal } = this.#options
    const from = clock.monotonic()
    this.#say('waiting', 'training waits for the row store', { reason })
    let isThere = false
    const ready = this.#store.ready(signal).then(() => (isThere = true))
    for (;;) {
      await Promise.race([ready, wait(sayEveryMs)])
      if (isThere) break
      const seconds = Math.round((clock.monotonic() - from) / 1000)
      this.#say('waiting', 'training still waits for the row store', { reason, seconds })
    }
    await wait(pauseMs)
    const milliseconds = clock.monotonic() - from
    this.#waitedMs += milliseconds
    this.#say('back', 'the row store answers again', { milliseconds: Math.round(milliseconds) })
  }

  #say(kind: RowStoreEvent['kind'], message: string, details: RowStoreEvent['details']): void {
    const { name: table } = this
    this.#options.report({ kind, table, message: `${message} (table ${table})`, details })
  }
}

const hasCode = (error: unknown, code: ErrorCode): boolean =>
  error instanceof ServiceError && error.code === code
