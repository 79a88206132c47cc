import { systemClock } from '../../src/base/clock.ts'
/**
 * A trainer and its readers over Redis that go on whatever happens to either of them or to the
 * server: each life of the trainer takes the lease anew and counts from 1, each life of a reader
 * starts from nothing.
 */
import { ServiceError } from '../../src/base/errors.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import type { RedisSettings } from '../../src/redis/redis-connection.ts'
import { RedisPublisher, type RedisPublisherOptions } from '../../src/sync/redis/redis-publisher.ts'
import { RedisSubscriber } from '../../src/sync/redis/redis-subscriber.ts'
import { acquireLease, type Lease } from '../../src/trainer/lease/lease.ts'
import { RedisLeaseStore } from '../../src/trainer/lease/redis-lease.ts'
import { RowReader, RowWriter } from './parameters.ts'
import { until } from './redis-server.ts'
import { newModel, quickPublisher, quickSubscriber } from './redis-sync.ts'

export interface LiveReader {
  readonly rows: RowReader
  readonly end: RedisSubscriber
}

interface TrainerLife {
  readonly lease: Lease
  readonly publisher: RedisPublisher
}

export type LiveOptions = Partial<RedisPublisherOptions> & {
  readonly connection: RedisSettings
  readonly seed?: number
}

/** Small enough that deltas are of several chunks and readers are passed over. */
export const smallSync = { chunkBytes: 200, maxDeltas: 8 } as const

export class LiveSync implements AsyncDisposable {
  readonly model = newModel()
  readonly writer = new RowWriter()
  readonly readers: LiveReader[] = []
  readonly random: Random
  readonly #options: LiveOptions
  readonly #store: RedisLeaseStore
  #life: TrainerLife | undefined

  private constructor(options: LiveOptions) {
    const { connection, seed = 1 } = options
    this.#options = options
    this.random = seededRandom(seed)
    this.#store = new RedisLeaseStore({ model: this.model, connection })
  }

  static async open(options: LiveOptions): Promise<LiveSync> {
    const live = new LiveSync(options)
    await live.startTrainer()
    return live
  }

  get publisher(): RedisPublisher {
    if (this.#life === undefined) throw new Error('the trainer is not running')
    return this.#life.publisher
  }

  async startTrainer(): Promise<void> {
    const { model } = this
    const lease = await acquireLease({
      store: this.#store,
      holder: 'live',
      ttlMs: 2_000,
      clock: systemClock,
    })
    const { fence } = lease
    const options = { model, fence, ...quickPublisher, ...this.#options }
    const publisher = new RedisPublisher(options)
    this.writer.sequence = 1
    publisher.onResync(() => this.writer.snapshot())
    this.#life = { lease, publisher }
  }

  /** What is on its way may or may not arrive. */
  async killTrainer(): Promise<void> {
    const life = this.#life
    this.#life = undefined
    await life?.publisher.close()
    await life?.lease.release()
  }

  addReader(): LiveReader {
    const rows = new RowReader()
    const { connection } = this.#options
    const end = new RedisSubscriber({ model: this.model, connection, ...quickSubscriber })
    const reader = { rows, end }
    void end.subscribe(0, (...delta) => rows.apply(...delta))
    this.readers.push(reader)
    return reader
  }

  async killReader(which: number): Promise<void> {
    const [reader] = this.readers.splice(which, 1)
    await reader?.end.close()
  }

  /** Resolves when it is in Redis, or will never be. */
  async publish(): Promise<void> {
    this.writer.change(this.random)
    try {
      await this.publisher.publish(this.writer.delta())
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'SYNC_CLOSED')) throw error
    }
  }

  /** Waits until every reader has what the trainer has, row by row. */
  async settled(): Promise<void> {
    await this.publish()
    await until(
      'every row of every reader as the trainer has it',
      () => this.differences().length === 0,
    )
  }

  /** Readers that have not what the trainer has, row by row: their numbers. */
  differences(): readonly number[] {
    return [...this.readers.keys()].filter((i) => !isSame(this.readers[i].rows, this.writer))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killTrainer()
    while (this.readers.length > 0) await this.killReader(0)
    await this.#store.close()
  }
}

function isSame(reader: RowReader, writer: RowWriter): boolean {
  if (reader.sequence !== writer.sequence || reader.rows.size !== writer.rows.size) return false
  return [...writer.rows].every(([key, row]) => String(reader.rows.get(key)) === String(row))
}
