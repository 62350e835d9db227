-- Below fence.lua. Puts entries aside until their time: from the stream into later, or back into later.
-- KEYS[2] stream   KEYS[3] later   KEYS[4] bodies   ARGV[2...] id, member, score, attempts, rest
-- Answer: ids that were pending and whose entry is gone. Repeating it has no effect.
-- Body: >I4 attempts, >I4 length + rest, then per field >I4 length + name, >I4 length + value.
-- Keeps: an old pending entry never pins the stream (semantics 5).
local gone = {}
local function text(value)
  return struct.pack('>I4c0', #value, value)
end
for i = 2, #ARGV, 5 do
  local id, member, score = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local head = struct.pack('>I4', tonumber(ARGV[i + 3])) .. text(ARGV[i + 4])
  local was = redis.call('ZSCORE', KEYS[3], member)
  if was then
    local body = tonumber(was) < -1e15 and redis.call('HGET', KEYS[4], member)
    if body then
      redis.call('HSET', KEYS[4], member, head .. string.sub(body, 9 + struct.unpack('>I4', body, 5)))
      redis.call('ZADD', KEYS[3], score, member)
    end
  else
    local pending = redis.pcall('XPENDING', KEYS[2], 'gim', id, id, 1)
    if not pending.err and pending[1] then
      local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
      if entry then
        local parts = {head}
        for n, part in ipairs(entry[2]) do
          parts[n + 1] = text(part)
        end
        redis.call('HSET', KEYS[4], member, table.concat(parts))
        redis.call('ZADD', KEYS[3], score, member)
      else
        gone[#gone + 1] = id
      end
      redis.call('XACK', KEYS[2], 'gim', id)
      redis.call('XDEL', KEYS[2], id)
    end
  end
end
return gone
