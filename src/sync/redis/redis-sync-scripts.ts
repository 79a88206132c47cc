/**
 * What the trainer's and the readers' ends do on the server, each at once: Lua for a stock Redis
 * 6.2 or later, or Valkey. Every script of the trainer begins by looking at the lease: whoever
 * another one has replaced, or whose lease has run out, changes nothing.
 *
 * The reply of a guarded script begins with a word: `done`; `fenced`, another one has the lease;
 * `expired`, nobody has it, so its keeper may still renew it; `gap`, something that was confirmed
 * before is missing.
 */
import { redisScript } from '../../redis/redis-script.ts'

/** Milliseconds since the epoch by the server's clock. */
export const serverNow = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/** A script under the lease. KEYS[1]: the lease; ARGV: epoch, token, ... */
export const fenced = (body: string) =>
  redisScript(`${serverNow}
local lease = redis.call('HMGET', KEYS[1], 'epoch', 'token', 'until')
local held = tonumber(lease[1] or '0')
local epoch = tonumber(ARGV[1])
if held > epoch or (held == epoch and lease[2] ~= ARGV[2]) then return {'fenced'} end
if held < epoch or tonumber(lease[3]) < now then return {'expired'} end
${body.trim()}`)

/** Where the trainer is: told at the end of each delta, after each snapshot, and now and then. */
const noteSequence = (sequence: string): string => `
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
  redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'sequence', '0')
  redis.call('XTRIM', KEYS[3], 'MINID', '=', ARGV[1] .. '-0')
end
if tonumber(redis.call('HGET', KEYS[2], 'sequence')) < tonumber(${sequence}) then
  redis.call('HSET', KEYS[2], 'sequence', ${sequence})
end`

/**
 * Adds one chunk. KEYS[2]: the head, KEYS[3]: the deltas; ARGV: ..., chunk's number in the epoch,
 * the number that must be the last one (empty: any), sequence (0 but for the last chunk), base,
 * chunks, the oldest number to keep, bytes. Done again it does nothing. The result: the number of
 * the last chunk, and what snapshot is wanted.
 */
export const addScript = fenced(`
local last = redis.call('HMGET', KEYS[2], 'lastEpoch', 'last', 'wanted')
local number = tonumber(ARGV[3])
local before = -1
if last[1] == ARGV[1] then before = tonumber(last[2]) end
if before < number then
  if ARGV[4] ~= '' and before ~= tonumber(ARGV[4]) then
    return {'gap', before < 0 and '-1' or last[2]}
  end
  redis.call('XADD', KEYS[3], ARGV[1] .. '-' .. ARGV[3], 'b', ARGV[6], 'n', ARGV[7], 'd', ARGV[9])
  redis.call('HSET', KEYS[2], 'lastEpoch', ARGV[1], 'last', ARGV[3])
  ${noteSequence('ARGV[5]').trim().replaceAll('\n', '\n  ')}
  redis.call('XTRIM', KEYS[3], 'MINID', '=', ARGV[1] .. '-' .. ARGV[8])
end
return {'done', '', last[3] or ''}`)

/**
 * A sign of life. KEYS[3]: the deltas, KEYS[4]: the readers; ARGV: ..., sequence, the oldest number
 * to keep. The result: the time, the snapshot that is wanted and the one there is, the readers.
 */
export const beatScript = fenced(`
${noteSequence('ARGV[3]').trim()}
redis.call('XTRIM', KEYS[3], 'MINID', '=', ARGV[1] .. '-' .. ARGV[4])
local found = redis.call('HMGET', KEYS[2], 'wanted', 'snapshot')
local time = string.format('%.0f', now)
return {'done', time, found[1] or '', found[2] or '', redis.call('HGETALL', KEYS[4])}`)

/** KEYS[1]: a snapshot; ARGV: index, bytes, ms that it lives if nobody finishes it. */
export const snapshotChunkScript = redisScript(`
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'done'`)

/**
 * Makes a snapshot the newest. KEYS[3]: the deltas, KEYS[4]: it, KEYS[5]: the one before; ARGV:
 * ..., sequence, its name in the head, chunks, ms that readers of the one before get.
 */
export const snapshotScript = fenced(`
if redis.call('HLEN', KEYS[4]) ~= tonumber(ARGV[5]) then return {'gap'} end
${noteSequence('ARGV[3]').trim()}
redis.call('PERSIST', KEYS[4])
redis.call('HSET', KEYS[2], 'snapshot', ARGV[4])
if KEYS[5] ~= KEYS[4] then redis.call('PEXPIRE', KEYS[5], ARGV[6]) end
return {'done'}`)

/**
 * From a reader: where it stands. KEYS: head, readers; ARGV: reader, epoch, sequence. The result:
 * the trainer's epoch and sequence, and the newest snapshot.
 */
export const reportScript = redisScript(`${serverNow}
local place = ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%.0f', now)
redis.call('HSET', KEYS[2], ARGV[1], place)
local head = redis.call('HMGET', KEYS[1], 'epoch', 'sequence', 'snapshot')
return {head[1] or '0', head[2] or '0', head[3] or ''}`)

/**
 * From a reader: it needs a snapshot of a sequence or a later one. KEYS: head; ARGV: epoch,
 * sequence.
 */
export const wantScript = redisScript(`
local found = redis.call('HGET', KEYS[1], 'wanted') or '0 0'
local epoch, sequence = string.match(found, '(%d+) (%d+)')
local newer = tonumber(ARGV[1]) > tonumber(epoch)
if newer or (ARGV[1] == epoch and tonumber(ARGV[2]) > tonumber(sequence)) then
  redis.call('HSET', KEYS[1], 'wanted', ARGV[1] .. ' ' .. ARGV[2])
end
return 'done'`)

/** KEYS: a snapshot; ARGV: index, ms that it must last. The chunk, or nil. */
export const readChunkScript = redisScript(`
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('HGET', KEYS[1], ARGV[1])`)

/** A snapshot that lacks something is none. KEYS: head; ARGV: its name in the head. */
export const dropSnapshotScript = redisScript(`
if redis.call('HGET', KEYS[1], 'snapshot') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'snapshot')
end
return 'done'`)
