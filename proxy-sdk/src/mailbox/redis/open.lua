-- Opens a mailbox for a session, and makes it where there is none.
--
-- KEYS  1 bucket  2 stream  3 ids  4 state
-- ARGV  1 limit (us)  2 uid  3 fence of the session  4 how long it is kept (ms)
--       5 `anew`, `resumes` or `survives`  6, 7 epoch and offset that the client or the session has
-- Answer  {epoch, last, acked, 1: what it had is of no use any more}
--
-- Keeps semantics 6 and 8: resuming acknowledges, unless receipts are wanted of any of that: who opens writes them first; the epoch rises where somebody saw more than there is now. A session
-- that was superseded is told how it stands, and changes nothing.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local box = load(KEYS[2], KEYS[3], KEYS[4]) or begin(KEYS[2], KEYS[3], KEYS[4], now)
local epoch, offset = tonumber(ARGV[6]), tonumber(ARGV[7])
local is_reset = ARGV[5] ~= 'anew' and (epoch ~= box.epoch or offset > box.last)
local fence = tonumber(ARGV[3])
local is_owner = not is_superseded(box, KEYS[1], ARGV[2], fence)
if is_owner then
  if is_reset and epoch == box.epoch then
    box.epoch = math.max(now, box.epoch + 1)
    redis.call('HSET', box.state, 'epoch', number(box.epoch))
  elseif ARGV[5] == 'resumes' and not is_reset and #wanted_upto(box, offset, 1) == 0 then
    ack_upto(box, offset)
  end
end
keep_for(box, ARGV[4])
-- After the write that Redis never refuses: without room, a mailbox that is there opens all the same.
if is_owner and fence > box.fence then
  redis.call('HSET', box.state, 'fence', number(fence))
end
return { box.epoch, box.last, box.acked, is_reset and 1 or 0 }
