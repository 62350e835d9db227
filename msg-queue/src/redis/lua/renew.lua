-- Prolongs the lease of a lane, if the caller has it, and tells the time.
-- KEYS[1] lease   ARGV[1] term   ARGV[2] caller   ARGV[3] milliseconds
-- Answer: {kept | gone | other | stale, seconds, microseconds}. stale: the caller took it anew in the meantime.
-- Keeps: a lane moves within its lease (semantics 5, 9).
local lease = redis.call('HMGET', KEYS[1], 'owner', 'term')
local time = redis.call('TIME')
local state = 'kept'
if not lease[1] then
  state = 'gone'
elseif lease[1] ~= ARGV[2] then
  state = 'other'
elseif lease[2] ~= ARGV[1] then
  state = 'stale'
else
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {state, time[1], time[2]}
