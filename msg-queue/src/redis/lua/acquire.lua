-- Takes the lease of a lane: if nobody has it, or the caller has it, or its owner is known to be dead.
-- KEYS[1] lease   KEYS[2] what outlives it: last term, its owner, client id and run_id of the connection that read last
-- ARGV[1] caller   ARGV[2] milliseconds   ARGV[3] term the caller had, 0: none   ARGV[4...] owners known to be dead
-- Answer: {taken, term, client id that read last, run_id of its server}, {held, milliseconds left} by a living owner,
-- or {passed}: others had the lane after the caller, so what the caller remembers of it is void.
-- Keeps: one owner per lane, and terms that rise also across expiry, lost data and clocks that step (semantics 5). Who
-- read last stays named until the next reader is: an owner that dies before it has ended it leaves that to the next.
local lease = redis.call('HMGET', KEYS[1], 'owner', 'term')
local pattern = '^(%d+) (%S+) ?(%S*) ?(%S*)$'
local last_term, last_owner, client, run = string.match(redis.call('GET', KEYS[2]) or '', pattern)
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
if client and client ~= '' then
  redis.call('HSET', KEYS[1], 'client', client, 'run', run)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], table.concat({term, ARGV[1], client or '', run or ''}, ' '))
return {'taken', term, client or '', run or ''}
