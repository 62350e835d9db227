-- Records that a user left a group.
--
-- KEYS  1 bucket  2 the user's groups
-- ARGV  1 limit (us)  2 uid  3 session  4 fence  5 tgid
-- Answer  1: recorded  0: the session is not the owner  2: it is a durable membership, which is ended otherwise
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
if state and state ~= 'temporary' then
  return 2
end
redis.call('HDEL', KEYS[2], ARGV[5])
if redis.call('HLEN', KEYS[2]) == 1 and redis.call('HGET', KEYS[2], ' session') then
  redis.call('DEL', KEYS[2])
end
return 1
