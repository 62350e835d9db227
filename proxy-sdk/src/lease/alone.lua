-- Names who may be here: the one node of mode `redis`, or `*` for the nodes of a cluster.
-- KEYS: meta hash. ARGV: who may be named now besides nobody, who is named from now on. Answer: 1 done, 0 another one is.
local named = redis.call('HGET', KEYS[1], 'node')
if named == ARGV[2] then return 1 end
if named and named ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'node', ARGV[2])
return 1
