-- Records an ownership anew, with its own fence.
--
-- KEYS  1 bucket  2 the user's groups  3 users of the bucket at the present incarnation
-- ARGV  1 limit (us)  2 uid  3 session  4 fence  5 incarnation  6 node  7 news noted per bucket, or ``
--       8.. tgids
-- Answer  1: it holds  0: lost to another owner
--
-- Keeps semantics 2: set if absent, of a lower fence, or its own session and fence under whatever incarnation. The node
-- is the truth for the groups of its sessions, so that the temporary ones are replaced. Durable ones are nobody's to
-- replace.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local previous, corrupt = read(redis.call('HGET', KEYS[1], ARGV[2]))
if corrupt then
  return corrupt
end
if previous then
  local own = previous.session == ARGV[3] and previous.fence == ARGV[4]
  if not own and tonumber(previous.fence) >= tonumber(ARGV[4]) then
    return 0
  end
  if previous.incarnation ~= ARGV[5] then
    leave_node(KEYS[1], previous, ARGV[2])
  end
end
if not previous or previous.session ~= ARGV[3] then
  -- Somebody may have been told that it is gone.
  local own = { fence = ARGV[4], session = ARGV[3], node = ARGV[6] }
  note(KEYS[1], ARGV[7], ARGV[2], 'online', own, 'returned', now)
end
redis.call('HSET', KEYS[1], ARGV[2], '1 ' .. ARGV[4] .. ' ' .. ARGV[3] .. ' ' .. ARGV[5] .. ' ' .. ARGV[6])
redis.call('SADD', KEYS[3], ARGV[2])

local fields = redis.call('HGETALL', KEYS[2])
local durable = false
for at = 1, #fields, 2 do
  if is_temporary(fields, at) or fields[at] == ' session' or fields[at] == ' until' then
    redis.call('HDEL', KEYS[2], fields[at])
  else
    durable = true
  end
end
for at = 8, #ARGV do
  redis.call('HSETNX', KEYS[2], ARGV[at], 'temporary')
end
if durable or #ARGV > 7 then
  redis.call('HSET', KEYS[2], ' session', ARGV[3])
  redis.call('PERSIST', KEYS[2])
end
return 1
