-- Takes some users of a bucket off an incarnation that is dead.
--
-- KEYS  1 bucket  2 users of the bucket at the dead incarnation
-- ARGV  1 limit (us)  2 incarnation  3 grace (ms)  4 users at most  5 groups after which to stop
--       6 news noted per bucket, or ``
-- Answer  {users whose record was deleted, users left, {tgids of those deleted, each once}}
--
-- Keeps semantics 2: dead records are deleted in bounded batches, and only if they are still the dead incarnation's: a
-- user who has come back elsewhere is not touched. Keeps semantics 4: their groups are kept for the grace.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local swept, tgids, seen = 0, {}, {}
for _ = 1, tonumber(ARGV[4]) do
  local uid = redis.call('SPOP', KEYS[2])
  if not uid then
    break
  end
  local record = read(redis.call('HGET', KEYS[1], uid))
  if record and record.incarnation == ARGV[2] then
    local groups = KEYS[1] .. ':g:' .. uid
    for _, tgid in ipairs(redis.call('HKEYS', groups)) do
      if string.sub(tgid, 1, 1) ~= ' ' and not seen[tgid] then
        seen[tgid] = true
        tgids[#tgids + 1] = tgid
      end
    end
    redis.call('HDEL', KEYS[1], uid)
    depart(groups, record.session, now, ARGV[3])
    note(KEYS[1], ARGV[6], uid, 'offline', record, 'node_lost', now)
    swept = swept + 1
  end
  if #tgids >= tonumber(ARGV[5]) then
    break
  end
end
return { swept, redis.call('SCARD', KEYS[2]), tgids }
