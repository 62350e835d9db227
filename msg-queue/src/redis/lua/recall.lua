-- Below fence.lua. Takes back what was handed out by somebody who does not know of it any more: it comes again at its
-- time.
-- KEYS[3] later   KEYS[4] bodies   ARGV[2] 1: it counts as one more attempt   ARGV[3...] members
-- Answer: how many were taken back.
-- Keeps: an entry read and not settled comes again (semantics 5, 9).
local R, T = 1e15, 2e15
local count = 0
for i = 3, #ARGV do
  local score = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[i]) or '0')
  if score < -R then
    local body = redis.call('HGET', KEYS[4], ARGV[i])
    if ARGV[2] == '1' and body and #body >= 8 then
      local attempts = struct.unpack('>I4', body) + 1
      redis.call('HSET', KEYS[4], ARGV[i], struct.pack('>I4', attempts) .. string.sub(body, 5))
    end
    redis.call('ZADD', KEYS[3], string.format('%.0f', score + T - R), ARGV[i])
    count = count + 1
  end
end
return count
