/**
 * What runs on the server: one Lua script for each verb that must be atomic there, for a stock
 * Redis 6.2 or later, or Valkey. All act on one slice: KEYS[1] is the hash of its rows, KEYS[2]
 * that of what is known of it (`docs/formats.md`).
 *
 * Each change has a number, which goes up for each writer's name, and every script that changes
 * rows leaves it in the slice. So a script sees, before it does anything, that
 *
 * - the slice has a lower number than its writer was told: it has lost writes;
 * - it has a higher one: the command comes late, from a connection given up, or from a process that
 *   another one has replaced;
 * - it has this very number: the command has been done and its reply was lost.
 *
 * In the first two cases nothing changes. The reply begins with the number found.
 */
import { redisScript } from '../../redis/redis-script.ts'

/** ARGV: writer, number of the change, number that the slice must have at least, ... */
const guarded = (body: string): string => `
local field = 'writer:' .. ARGV[1]
local change = tonumber(ARGV[2])
local found = tonumber(redis.call('HGET', KEYS[2], field) or '-1')
if found < tonumber(ARGV[3]) or found > change then return {tostring(found), false} end
local result = redis.call('HGET', KEYS[2], 'result:' .. ARGV[1])
if found < change then
  ${body.trim().replaceAll('\n', '\n  ')}
  result = tostring(result)
  redis.call('HSET', KEYS[2], field, ARGV[2], 'result:' .. ARGV[1], result)
end
return {ARGV[2], result}`

/** Lua's stack holds some 8,000 values: arguments go to a command a thousand at a time. */
const inThousands = (call: string): string => `
for first = 4, #ARGV, 1000 do
  ${call.replace('ARGS', 'unpack(ARGV, first, math.min(#ARGV, first + 999))')}
end`

/** ... then key, record, key, record. */
export const writeScript = redisScript(
  guarded(`result = ''${inThousands("redis.call('HSET', KEYS[1], ARGS)")}`),
)

/** ... then keys. The result: how many had a row. */
export const eraseScript = redisScript(
  guarded(`result = 0${inThousands("result = result + redis.call('HDEL', KEYS[1], ARGS)")}`),
)

/** ... then the mark, and the time. */
export const markScript = redisScript(
  guarded(`result = ''
redis.call('HSET', KEYS[2], 'mark', ARGV[4], 'used', ARGV[5])`),
)

export const clearScript = redisScript(
  guarded(`result = ''
redis.call('UNLINK', KEYS[1])
redis.call('HDEL', KEYS[2], 'mark')`),
)
