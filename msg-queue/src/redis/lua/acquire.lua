-- Takes the lease of a lane: if nobody has it, or the caller has it, or its owner is known to be dead.
-- KEYS[1] lease   KEYS[2] last term
-- ARGV[1] caller   ARGV[2] milliseconds   ARGV[3] term the caller had, 0: none   ARGV[4...] owners known to be dead
-- Answer: {taken, term, previous reader's client id, run_id of its server}, {held, milliseconds left} by a living owner,
-- or {passed}: others had the lane after the caller, so what the caller remembers of it is void.
-- Keeps: one owner per lane, and terms that rise also across expiry, lost data and clocks that step (semantics 5).
local lease = redis.call('HMGET', KEYS[1], 'owner', 'term', 'client', 'run')
local last_term, last_owner = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (.+)$')
local owner = lease[1]
if owner and owner ~= ARGV[1] then
  local dead = false
  for i = 4, #ARGV do
    dead = dead or ARGV[i] == owner
  end
  if not dead then
    return {'held', redis.call('PTTL', KEYS[1])}
  end
end
local last = math.max(tonumber(lease[2] or '0') or 0, tonumber(last_term or '0'))
local mine = tonumber(ARGV[3])
if mine > 0 and last > mine and (owner or last_owner) ~= ARGV[1] then
  return {'passed'}
end
local time = redis.call('TIME')
local term = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'term', term)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], term .. ' ' .. ARGV[1])
return {'taken', term, lease[3] or '', lease[4] or ''}
