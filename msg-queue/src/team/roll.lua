-- Takes note that a worker shares the lanes, or that it leaves, and tells which workers share them.
-- KEYS[1] workers, each with the time until which it counts, Unix milliseconds
-- ARGV[1] the caller, `<incarnation> <id>`   ARGV[2] milliseconds for which it counts, 0: it leaves
-- ARGV[3...] runs of workers known to be dead
-- Answer: the workers that count.
-- Keeps: lanes of a worker that is gone are somebody else's within its lease. Who may work on a lane is decided by the
-- lane's own lease: this only proposes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))) do
  redis.call('ZREM', KEYS[1], gone)
end
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local workers = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf')) do
  local dead = false
  for i = 3, #ARGV do
    dead = dead or ARGV[i] == string.match(worker, '^%S+')
  end
  if dead then
    redis.call('ZREM', KEYS[1], worker)
  else
    table.insert(workers, worker)
  end
end
return workers
