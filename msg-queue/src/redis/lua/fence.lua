-- Stands before every script that reads or settles for a lane: nobody works on a lane that somebody else owns.
-- KEYS[1] the lane's lease   ARGV[1] the caller's term; then, after a space, the run of Redis that it has to be, if any
-- Answer: LOSTTERM, somebody else owns the lane; NOLEASE, nobody does; OTHERRUN, it is another run.
-- Keeps: a thawed old owner can neither read on nor settle (semantics 5, 9); what another run may have lost is not
-- settled (semantics 8).
local own_term, own_run = string.match(ARGV[1], '^(%d+) ?(%w*)$')
local term = redis.call('HGET', KEYS[1], 'term')
if not term then
  return redis.error_reply('NOLEASE nobody owns the lane')
end
if term ~= own_term then
  return redis.error_reply('LOSTTERM somebody else owns the lane')
end
if own_run ~= '' and not string.find(redis.call('INFO', 'server'), 'run_id:' .. own_run, 1, true) then
  return redis.error_reply('OTHERRUN redis is another run')
end
