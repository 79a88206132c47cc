/**
 * The trainer's lease in Redis, beside the parameters of the model, so that the server looks at it
 * in the same moment as it takes a delta (`src/sync/redis/redis-sync-scripts.ts`).
 *
 * An epoch is one more than the one before, and no less than the server's clock in milliseconds:
 * a server that has lost what it had (a crash, a fail-over) does not give the same epochs again.
 * Time is the server's alone; clocks of processes are not compared.
 */
import { ServiceError } from '../../base/errors.ts'
import { connectRedis } from '../../redis/redis-connection.ts'
import type { RedisArgument, RedisConnection, RedisSettings } from '../../redis/redis-connection.ts'
import { RedisPatience } from '../../redis/redis-patience.ts'
import { redisScript, type RedisScript, runScript } from '../../redis/redis-script.ts'
import type { Fence } from '../../sync/fence.ts'
import { syncNames } from '../../sync/redis/redis-names.ts'
import { serverNow } from '../../sync/redis/redis-sync-scripts.ts'
import type { LeaseAnswer, LeaseRequest, LeaseStore } from './lease.ts'

export interface RedisLeaseOptions {
  /** Whose trainer: part of the name in Redis. */
  readonly model: string
  readonly connection: RedisSettings
  /** Default 1,000 ms: several tries in the time of a lease. */
  readonly commandTimeoutMs?: number
}

const defaultTimeoutMs = 1_000

/** ARGV: holder, token, ms. Granted: 1 and the epoch; else 0, the holder, ms left. */
const acquireScript = redisScript(`${serverNow}
local found = redis.call('HMGET', KEYS[1], 'epoch', 'token', 'until', 'holder')
local left = tonumber(found[3] or '-1') - now
local isOwn = found[2] == ARGV[2]
if left >= 0 and not isOwn then return {'0', found[4], string.format('%.0f', left)} end
local epoch = found[1]
if not isOwn then
  epoch = string.format('%.0f', math.max(tonumber(epoch or '0') + 1, now))
end
local lasts = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'epoch', epoch, 'token', ARGV[2], 'holder', ARGV[1], 'until', lasts)
return {'1', epoch}`)

/**
 * ARGV: epoch, token, ms, holder. A lower epoch: the server has lost this lease, and nobody else
 * was given one since that counts.
 */
const renewScript = redisScript(`${serverNow}
local found = redis.call('HMGET', KEYS[1], 'epoch', 'token')
local held = tonumber(found[1] or '0')
local epoch = tonumber(ARGV[1])
if held > epoch or (held == epoch and found[2] ~= ARGV[2]) then return {'0'} end
local lasts = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'token', ARGV[2], 'holder', ARGV[4], 'until', lasts)
return {'1'}`)

/** ARGV: epoch, token. The epoch stays, for the next one. */
const releaseScript = redisScript(`
local found = redis.call('HMGET', KEYS[1], 'epoch', 'token')
if found[1] == ARGV[1] and found[2] == ARGV[2] then
  redis.call('HSET', KEYS[1], 'token', '', 'holder', '', 'until', '0')
end
return {'1'}`)

export class RedisLeaseStore implements LeaseStore {
  readonly #keys: readonly string[]
  readonly #connection: RedisConnection
  readonly #patience: RedisPatience
  #holder = ''

  constructor({ model, connection, commandTimeoutMs = defaultTimeoutMs }: RedisLeaseOptions) {
    this.#keys = [syncNames(model).lease]
    this.#connection = connectRedis(connection)
    this.#patience = new RedisPatience({
      connection: this.#connection,
      timeoutMs: commandTimeoutMs,
      closed: () => new ServiceError('LEASE_REFUSED', { model, reason: 'the store is closed' }),
      refused: (reason) => new ServiceError('LEASE_REFUSED', { model, reason }),
    })
  }

  async acquire({ holder, token, ttlMs }: LeaseRequest): Promise<LeaseAnswer> {
    this.#holder = holder
    const [granted, found = '', left = '0'] = await this.#run(acquireScript, [holder, token, ttlMs])
    if (granted === '1') return { isGranted: true, epoch: Number(found) }
    return { isGranted: false, holder: found, leftMs: Number(left) }
  }

  async renew({ epoch, token }: Fence, ttlMs: number): Promise<boolean> {
    const [renewed] = await this.#run(renewScript, [epoch, token, ttlMs, this.#holder])
    return renewed === '1'
  }

  async release({ epoch, token }: Fence): Promise<void> {
    await this.#run(releaseScript, [epoch, token])
  }

  close(): Promise<void> {
    this.#patience.close()
    return Promise.resolve()
  }

  async #run(script: RedisScript, args: readonly RedisArgument[]): Promise<readonly string[]> {
    const reply = await this.#patience.ask(() =>
      runScript(this.#connection, script, this.#keys, args),
    )
    return Array.isArray(reply) ? reply.map(String) : []
  }
}
