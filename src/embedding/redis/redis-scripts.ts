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

/** KEYS[3]: the rows of the other tag. */
export const importScript = redisScript(
  guarded(`result = ''
if redis.call('COPY', KEYS[3], KEYS[1], 'REPLACE') == 0 then redis.call('UNLINK', KEYS[1]) end
redis.call('HDEL', KEYS[2], 'mark')`),
)

/**
 * ... then floats of a vector, stamp as in a record (version u32, last seen f64), versions per
 * decay of the optimizer's state (0: never), factor and floor of it; then for each key 1 or 0
 * (found by its writer) with the key, and the differences of the vector (f32) or the record to
 * insert. The result: a digit of `accumulated` for each key.
 *
 * A sum of two f32 made in f64 and rounded is the f32 sum, so rows are the same as a table in
 * memory makes them.
 */
export const accumulateScript = redisScript(
  guarded(`
local floats = tonumber(ARGV[4])
local stamp = ARGV[5]
local version = struct.unpack('<I4', stamp)
local steps, decay, floor = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local round = function(x) return (struct.unpack('<f', struct.pack('<f', x))) end
local each = function(row, at, count, change)
  local done = {}
  for i = 1, count do
    done[i] = struct.pack('<f', change(struct.unpack('<f', row, at + 4 * (i - 1)), i))
  end
  return table.concat(done)
end
local decayed = function(row)
  local last = struct.unpack('<I4', row, 13)
  local state = string.sub(row, 33 + 4 * floats)
  if steps == 0 or version <= last then return state end
  local due = math.floor(version / steps) - math.floor(last / steps)
  if due == 0 then return state end
  local factor, square = 1, decay
  while due > 0 do
    if due % 2 == 1 then factor = round(factor * square) end
    square = round(square * square)
    due = math.floor(due / 2)
  end
  return each(state, 1, #state / 4, function(x) return math.max(round(x * factor), floor) end)
end
local codes = {}
for i = 9, #ARGV, 2 do
  local expected = string.byte(ARGV[i]) == 49
  local key = string.sub(ARGV[i], 2)
  local row = redis.call('HGET', KEYS[1], key)
  local code = '0'
  if row and expected then
    code = '1'
    local vector = each(row, 33, floats, function(x, j)
      return x + struct.unpack('<f', ARGV[i + 1], 4 * j - 3)
    end)
    local head = string.sub(row, 1, 12) .. stamp .. struct.pack('<I4I4', 1, 0)
    redis.call('HSET', KEYS[1], key, head .. vector .. decayed(row))
  elseif not row and not expected then
    code = '2'
    redis.call('HSET', KEYS[1], key, ARGV[i + 1])
  end
  codes[#codes + 1] = code
end
result = table.concat(codes)`),
)

/**
 * A page of scores: ARGV: cursor, rows a page, time before which and version after which rows are
 * wanted. Replies the next cursor, the first 24 bytes of each record, and which server says so,
 * since a cursor means nothing to another.
 */
export const scoresScript = redisScript(`
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local rows = page[2]
local before, after = tonumber(ARGV[3]), tonumber(ARGV[4])
local scores = {}
for i = 2, #rows, 2 do
  local version, seen = struct.unpack('<I4d', rows[i], 13)
  if seen < before and version > after then scores[#scores + 1] = string.sub(rows[i], 1, 24) end
end
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
return {page[1], table.concat(scores), server}`)
