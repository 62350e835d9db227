-- Changes whether an incarnation is named among those that hold members of a group.
--
-- KEYS  1 the group's holders
-- ARGV  1 limit (us)  2 incarnation  3 `SADD` or `SREM`
-- Answer  1: changed  0: it was so already
--
-- Keeps semantics 4: the index may name too many nodes, never too few. A removal that was given up and came late would
-- undo the entry of a member who has joined since.

local refusal = late(now_us(), ARGV[1])
if refusal then
  return refusal
end
return redis.call(ARGV[3], KEYS[1], ARGV[2])
