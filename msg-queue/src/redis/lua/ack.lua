-- Below fence.lua. Settles entries for good.
-- KEYS[2] stream   KEYS[3] later   KEYS[4] bodies
-- ARGV[2] how many ids of the stream follow   ARGV[3...] those ids, then members of later
-- Answer: how many were pending. Repeating it has no effect.
-- Keeps: an entry is settled when every target has its outcome (semantics 1).
local ids = tonumber(ARGV[2])
local count = 0
-- Lua passes no more than some 8,000 arguments at once.
for from = 3, 2 + ids, 1000 do
  count = count + redis.call('XACK', KEYS[2], 'gim', unpack(ARGV, from, math.min(from + 999, 2 + ids)))
end
for i = 3 + ids, #ARGV do
  if tonumber(redis.call('ZSCORE', KEYS[3], ARGV[i]) or '0') < -1e15 then
    redis.call('ZREM', KEYS[3], ARGV[i])
    redis.call('HDEL', KEYS[4], ARGV[i])
    count = count + 1
  end
end
return count
