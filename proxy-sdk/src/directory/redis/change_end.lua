-- Ends a change of a durable membership. The user's side.
--
-- KEYS  1 bucket  2 the user's groups
-- ARGV  1 limit (us)  2 tgid  3 who changed  4 1: the group's side is done  0: the group is full
-- Answer  1: ended  0: it was another's by then
--
-- Keeps semantics 4: one change of a membership at a time. Where the group is full, what there was before is there again.

local refusal = late(now_us(), ARGV[1])
if refusal then
  return refusal
end
local field = ' change ' .. ARGV[2]
local _, who, before = string.match(redis.call('HGET', KEYS[2], field) or '', '^(%d+) (%S+) (%S+) %d+$')
if who ~= ARGV[3] then
  return 0
end
redis.call('HDEL', KEYS[2], field)
local state = redis.call('HGET', KEYS[2], ARGV[2])
if ARGV[4] == '0' and before == 'temporary' then
  redis.call('HSET', KEYS[2], ARGV[2], before)
elseif ARGV[4] == '0' or state == 'leaving' then
  redis.call('HDEL', KEYS[2], ARGV[2])
end
expire(KEYS[2])
return 1
