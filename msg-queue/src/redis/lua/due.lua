-- Below fence.lua. Hands out what was put aside and is due, in the order of time and id, and marks it as handed out.
-- KEYS[3] later   KEYS[4] bodies
-- ARGV[2] most entries   ARGV[3] most bytes   ARGV[4] the caller's clock, Unix milliseconds: nothing is due before it is
-- ARGV[5] '' or the highest score of band R that is due whatever its time
-- Answer: {next due time or '', entries that wait, members whose body was gone, {member, body, ...}}
-- Bands of the score: T below -1e15, R below 0, S from 0 on.
-- Keeps: schedules and long retries come back under their origin id (semantics 5).
local R, T = 1e15, 2e15
local most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local function page(from, to)
  return redis.call('ZRANGEBYSCORE', KEYS[3], from, to, 'WITHSCORES', 'LIMIT', 0, most)
end
local aside, planned
if ARGV[5] == '' then
  local time = redis.call('TIME')
  local now = math.min(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[4]))
  aside = page(string.format('%.0f', -R), string.format('%.0f', now - R))
  planned = page('0', string.format('%.0f', now))
else
  aside = page(string.format('%.0f', -R), ARGV[5])
  planned = {}
end
local a, p, bytes = 1, 1, 0
local out, gone = {}, {}
while #out < 2 * most and (aside[a] or planned[p]) do
  local member, due
  local from_a = aside[a] and tonumber(aside[a + 1]) + R
  local from_p = planned[p] and tonumber(planned[p + 1])
  if from_a and (not from_p or from_a < from_p or (from_a == from_p and aside[a] < planned[p])) then
    member, due, a = aside[a], from_a, a + 2
  else
    member, due, p = planned[p], from_p, p + 2
  end
  local body = redis.call('HGET', KEYS[4], member)
  if not body then
    redis.call('ZREM', KEYS[3], member)
    gone[#gone + 1] = member
  else
    bytes = bytes + #body
    if bytes > most_bytes and #out > 0 then
      break
    end
    redis.call('ZADD', KEYS[3], string.format('%.0f', due - T), member)
    out[#out + 1] = member
    out[#out + 1] = body
  end
end
local first_a = redis.call('ZRANGEBYSCORE', KEYS[3], string.format('%.0f', -R), '(0', 'WITHSCORES', 'LIMIT', 0, 1)
local first_p = redis.call('ZRANGEBYSCORE', KEYS[3], '0', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local next_due = first_a[2] and tonumber(first_a[2]) + R
if first_p[2] then
  next_due = math.min(next_due or math.huge, tonumber(first_p[2]))
end
local waiting = redis.call('ZCOUNT', KEYS[3], string.format('%.0f', -R), '+inf')
return {next_due and string.format('%.0f', next_due) or '', waiting, gone, out}
