-- Changes a durable membership. The group's side.
--
-- KEYS  1 the group's durable members
-- ARGV  1 limit (us)  2 uid  3 `durable` or `leaving`  4 members at most
-- Answer  1: done  0: the group is full
--
-- Keeps semantics 4: after the user's side, and not behind the back of a change that began after this one was given up.

local refusal = late(now_us(), ARGV[1])
if refusal then
  return refusal
end
if ARGV[3] == 'leaving' then
  redis.call('SREM', KEYS[1], ARGV[2])
  return 1
end
if redis.call('SISMEMBER', KEYS[1], ARGV[2]) == 1 then
  return 1
end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[4]) then
  return 0
end
return redis.call('SADD', KEYS[1], ARGV[2])
