-- Renews a node's lease if it is still this run's.
-- KEYS: node key. ARGV: own record, time to live in ms. Answer: held, gone (expired, or Redis lost it), taken.
-- Promise: an incarnation whose lease was lost never lives again.
local found = redis.call('GET', KEYS[1])
if not found then return 'gone' end
if found ~= ARGV[1] then return 'taken' end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'held'
