-- Below fence.lua. Makes what was put aside due at once, in the order of its entries.
-- KEYS[3] later   ARGV[2] most entries
-- Answer: how many it found. Fewer than asked for: there are no more.
-- Keeps: order per target (semantics 5). Nobody remembers who was held back behind whom, and their due times do not tell:
-- entries put aside together may have been moved one after the other, with a crash in between.
local FIRST_OF_R = '-1000000000000000'
local members = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. FIRST_OF_R, '(0', 'LIMIT', 0, ARGV[2])
for _, member in ipairs(members) do
  redis.call('ZADD', KEYS[3], FIRST_OF_R, member)
end
return #members
