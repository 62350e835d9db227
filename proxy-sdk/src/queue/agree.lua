-- Notes the schema version and the number of lanes, or compares them.
--
-- KEYS  1 `gim:meta`
-- ARGV  1 schema version, 2 number of lanes
-- Answer: schema version and number of lanes as they are now. Nothing is written beside a version that is another's.
--
-- Keeps: the number of lanes is the same for everybody (semantics 5): a target never changes its lane unnoticed.

local found = redis.call('HMGET', KEYS[1], 'schema', 'lanes')
local schema = found[1] or ARGV[1]
if schema ~= ARGV[1] then return {schema, found[2] or ''} end
if not found[1] then redis.call('HSET', KEYS[1], 'schema', schema) end
if not found[2] then redis.call('HSET', KEYS[1], 'lanes', ARGV[2]) end
return {schema, found[2] or ARGV[2]}
