-- Acknowledges everything up to an offset.
--
-- KEYS  1 bucket  2 stream  3 state
-- ARGV  1 limit (us)  2 uid  3 fence of the session  4 epoch  5 offset
-- Answer  `done`, `superseded` (a higher fence is on record, or has opened it), or `unknown` (another epoch, or it never
--         got so far)

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local box = load(KEYS[2], '', KEYS[3])
if is_superseded(box, KEYS[1], ARGV[2], ARGV[3]) then
  return 'superseded'
end
if not box or tonumber(ARGV[4]) ~= box.epoch or tonumber(ARGV[5]) > box.last then
  return 'unknown'
end
ack_upto(box, tonumber(ARGV[5]))
return 'done'
