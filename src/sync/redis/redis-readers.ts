/**
 * Readers of the parameters, as they say in Redis where they stand: for the trainer, which keeps
 * what they need, and for whoever wants to reach them.
 */
import { ServiceError } from '../../base/errors.ts'
import {
  connectRedis,
  type RedisConnection,
  type RedisSettings,
} from '../../redis/redis-connection.ts'
import { RedisPatience } from '../../redis/redis-patience.ts'
import { redisScript, runScript } from '../../redis/redis-script.ts'
import { syncNames } from './redis-names.ts'
import { serverNow } from './redis-sync-scripts.ts'

export interface ReaderStatus {
  readonly reader: string
  readonly epoch: number
  readonly sequence: number
  /** Since it was last heard of. */
  readonly silentMs: number
}

/** Field and value in turn, value: epoch, sequence, time. */
export function readersOf(found: unknown, now: number): readonly ReaderStatus[] {
  const parts = Array.isArray(found) ? found.map(String) : []
  const readers: ReaderStatus[] = []
  for (let i = 0; i + 1 < parts.length; i += 2) {
    const [epoch = 0, sequence = 0, heardAt = 0] = parts[i + 1].split(' ').map(Number)
    readers.push({ reader: parts[i], epoch, sequence, silentMs: Math.max(0, now - heardAt) })
  }
  return readers
}

/** KEYS: readers. The time, and the readers. */
const listScript = redisScript(`${serverNow}
return {string.format('%.0f', now), redis.call('HGETALL', KEYS[1])}`)

export interface RedisReadersOptions {
  /** Whose parameters: part of the names in Redis. */
  readonly model: string
  readonly connection: RedisSettings
  /** Default 2,000 ms. */
  readonly commandTimeoutMs?: number
}

export class RedisReaders {
  readonly #keys: readonly string[]
  readonly #connection: RedisConnection
  readonly #patience: RedisPatience

  constructor({ model, connection, commandTimeoutMs = 2_000 }: RedisReadersOptions) {
    this.#keys = [syncNames(model).readers]
    this.#connection = connectRedis(connection)
    this.#patience = new RedisPatience({
      connection: this.#connection,
      timeoutMs: commandTimeoutMs,
      closed: () => new ServiceError('SYNC_CLOSED', { side: 'readers' }),
      refused: (reason) => new ServiceError('SYNC_REFUSED', { model, reason }),
    })
  }

  /**
   * Those heard of within so long. Waits while Redis is not to be had. Throws `SYNC_REFUSED`, and
   * the signal's reason.
   */
  async list(withinMs: number, signal: AbortSignal): Promise<readonly ReaderStatus[]> {
    const reply = await this.#patience.ask(() => {
      signal.throwIfAborted()
      return runScript(this.#connection, listScript, this.#keys, [])
    })
    signal.throwIfAborted()
    const [time, found] = Array.isArray(reply) ? (reply as unknown[]) : []
    const readers = readersOf(found, Number(time))
    return readers.filter(({ silentMs }) => silentMs <= withinMs)
  }

  close(): void {
    this.#patience.close()
  }
}
