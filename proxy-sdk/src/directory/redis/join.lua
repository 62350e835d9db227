-- Records that a user is in a group.
--
-- KEYS  1 bucket  2 the user's groups
-- ARGV  1 limit (us)  2 uid  3 session  4 fence  5 tgid
-- Answer  1: recorded  0: the session is not the owner  2: a durable membership is being ended, finish that first
--
-- Keeps semantics 4: a user's groups are stored with the user's record, by its owner alone.

local refusal = late(now_us(), ARGV[1])
if refusal then
  return refusal
end
local record, corrupt = read(redis.call('HGET', KEYS[1], ARGV[2]))
if corrupt then
  return corrupt
end
if not record or record.session ~= ARGV[3] or record.fence ~= ARGV[4] then
  return 0
end
local state = redis.call('HGET', KEYS[2], ARGV[5])
if state == 'leaving' then
  return 2
end
redis.call('HSET', KEYS[2], ' session', ARGV[3], ARGV[5], state or 'temporary')
return 1
