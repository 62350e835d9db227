-- Stands before every script that reads or settles for a lane: nobody works on a lane that somebody else owns.
-- KEYS[1] the lane's lease   ARGV[1] the caller's term
-- Answer: LOSTTERM, somebody else owns the lane; NOLEASE, nobody does.
-- Keeps: a thawed old owner can neither read on nor settle (semantics 5, 9).
local term = redis.call('HGET', KEYS[1], 'term')
if not term then
  return redis.error_reply('NOLEASE nobody owns the lane')
end
if term ~= ARGV[1] then
  return redis.error_reply('LOSTTERM somebody else owns the lane')
end
