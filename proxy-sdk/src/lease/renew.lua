-- Renews a node's lease if it is still this run's. The record may say more by now than it did.
-- KEYS: node key. ARGV: own incarnation, own record, time to live in ms.
-- Answer: held, gone (expired, or Redis lost it), taken.
-- Promise: an incarnation whose lease was lost never lives again.
local found = redis.call('GET', KEYS[1])
if not found then return 'gone' end
local ok, record = pcall(cjson.decode, found)
if not ok or type(record) ~= 'table' or record.incarnation ~= ARGV[1] then return 'taken' end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
-- A Redis that is full lets nothing be written. The lease goes on, and says it later.
if found ~= ARGV[2] then redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 'held'
