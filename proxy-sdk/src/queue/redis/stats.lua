-- Figures of a lane, all of one moment. Writes nothing.
--
-- KEYS  1 the stream, 2 `later`, 3 the dead letters
-- ARGV  1 the consumer group
-- Answer: lag, pending, later, dead, and the age in ms of the oldest entry that is due and not settled
--
-- Scores in `later`: schedules are their due time in ms; what the worker put aside, that less 1e15; what it was handed
-- out and has not settled, that less 2e15.
-- Keeps: every accepted entry that has no outcome yet is counted once, wherever it waits (semantics 1).

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = now

local function since(id) oldest = math.min(oldest, tonumber(string.match(id, '^%d+'))) end
local function score(number) return string.format('%.0f', number) end

-- Entries of a band that are due, or all of them; the oldest counts.
local function band(base, due)
  local low, high = score(base), score(base + due)
  local first = redis.call('ZRANGEBYSCORE', KEYS[2], low, high, 'WITHSCORES', 'LIMIT', 0, 1)
  -- Due at once, whatever it was before: then its place is all that tells its age.
  local due_at = first[2] and tonumber(first[2]) - base
  if due_at == 0 then due_at = tonumber(string.sub(first[1], 1, 16), 16) end
  if due_at then oldest = math.min(oldest, due_at) end
  return redis.call('ZCOUNT', KEYS[2], low, high)
end

local function group()
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  for _, fields in ipairs(groups) do
    local found = {}
    for at = 1, #fields, 2 do found[fields[at]] = fields[at + 1] end
    if found['name'] == ARGV[1] then return found end
  end
  return {['last-delivered-id'] = '0-0'}
end

local reader = group()
local pending = 0
if reader['name'] then
  local summary = redis.call('XPENDING', KEYS[1], ARGV[1])
  pending = summary[1]
  if summary[2] then since(summary[2]) end
end

local unread = redis.call('XRANGE', KEYS[1], '(' .. reader['last-delivered-id'], '+', 'COUNT', 1)
local lag = 0
if unread[1] then
  since(unread[1][1])
  -- Redis 6.2 does not count; later ones do not always know. Then everything that is not pending counts as unread.
  lag = reader['lag'] or (redis.call('XLEN', KEYS[1]) - pending)
end

local handed_out = band(-2e15, 1e15 - 1)
local due = band(-1e15, now) + band(0, now)
local waiting = redis.call('ZCARD', KEYS[2]) - handed_out - due
return {math.max(lag, 0) + due, pending + handed_out, waiting, redis.call('XLEN', KEYS[3]), now - oldest}
