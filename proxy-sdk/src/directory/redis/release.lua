-- Ends an ownership, if it is still this one.
--
-- KEYS  1 bucket  2 the user's groups
-- ARGV  1 limit (us)  2 uid  3 session  4 fence, or `` for whatever fence the session has  5 grace (ms)
--       6 news noted per bucket, or ``
-- Answer  1: it was this one  0: it was not
--
-- Keeps semantics 3: release is compare-and-delete on session and fence; and semantics 4: temporary groups survive for
-- the grace, for a client that presents the session. Whoever is told of the end is told in the same step.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local record, corrupt = read(redis.call('HGET', KEYS[1], ARGV[2]))
if corrupt then
  return corrupt
end
if not record or record.session ~= ARGV[3] or (ARGV[4] ~= '' and record.fence ~= ARGV[4]) then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[2])
leave_node(KEYS[1], record, ARGV[2])
depart(KEYS[2], ARGV[3], now, ARGV[5])
note(KEYS[1], ARGV[6], ARGV[2], 'offline', record, 'closed', now)
return 1
