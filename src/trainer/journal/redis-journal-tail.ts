/**
 * The journal's copy in Redis as a standby reads it, which has no lease. What it reads may still be
 * replaced by whoever takes over with less: that is noticed at the next look, as in a file.
 */
import { ServiceError } from '../../base/errors.ts'
import {
  connectRedis,
  type RedisConnection,
  type RedisSettings,
} from '../../redis/redis-connection.ts'
import { RedisPatience } from '../../redis/redis-patience.ts'
import { redisScript, runScript } from '../../redis/redis-script.ts'
import { type JournalPlace, leadsOn } from '../../stream/files/journal-tail.ts'
import type { NumberedEntry } from '../../stream/files/journal.ts'
import { syncNames } from '../../sync/redis/redis-names.ts'
import type { JournalSource } from '../lease/journal-follower.ts'
import { numberedEntries } from './redis-journal.ts'

export interface RedisJournalTailOptions {
  /** Whose journal: part of the names in Redis. */
  readonly model: string
  readonly connection: RedisSettings
}

/**
 * KEYS: number of the first, the list; ARGV: number of the entry to begin with, how many. Empty: it
 * is not there.
 */
const readScript = redisScript(`
local first = tonumber(redis.call('GET', KEYS[1]) or '-1')
local from = tonumber(ARGV[1]) - first
if first < 0 or from < 0 or from > redis.call('LLEN', KEYS[2]) then return {} end
return {'done', redis.call('LRANGE', KEYS[2], from, from + tonumber(ARGV[2]) - 1)}`)

const timeoutMs = 2_000
/** Of one look: some hundred bytes each. */
const mostEntries = 1_024

export class RedisJournalTail implements JournalSource {
  readonly #keys: readonly string[]
  readonly #connection: RedisConnection
  readonly #patience: RedisPatience

  constructor({ model, connection }: RedisJournalTailOptions) {
    const { journalFirst, journal } = syncNames(model)
    this.#keys = [journalFirst, journal]
    this.#connection = connectRedis(connection)
    this.#patience = new RedisPatience({
      connection: this.#connection,
      timeoutMs,
      closed: () => new ServiceError('SYNC_CLOSED', { side: 'journal' }),
      refused: (reason) => new ServiceError('SYNC_REFUSED', { model, reason }),
    })
  }

  /** Waits while Redis is away. Throws `SYNC_REFUSED`, `SYNC_CLOSED`, `JOURNAL_DAMAGED`. */
  async read(place: JournalPlace): Promise<readonly NumberedEntry[] | undefined> {
    const { sequence, last } = place
    const first = last === undefined ? sequence : sequence - 1
    const reply = await this.#patience.ask(() =>
      runScript(this.#connection, readScript, this.#keys, [first, mostEntries]),
    )
    const [word, found]: readonly unknown[] = Array.isArray(reply) ? reply : []
    if (word === undefined) return undefined
    const entries = numberedEntries(found, first)
    return leadsOn(place, { first, entries }) ? entries.slice(sequence - first) : undefined
  }

  [Symbol.dispose](): void {
    this.#patience.close()
  }
}
