-- Below fence.lua. Says which connection reads the lane, so that whoever takes the lane over can end it first, and whoever
-- redrives can wake it.
-- KEYS[1] lease   KEYS[2] what outlives it   ARGV[2] client id   ARGV[3] run_id of the server that client id belongs to
-- Keeps: a new owner ends the previous reader before it reads, also when the previous lease is long over (semantics 5).
local owner = redis.call('HGET', KEYS[1], 'owner')
redis.call('HSET', KEYS[1], 'client', ARGV[2], 'run', ARGV[3])
redis.call('SET', KEYS[2], table.concat({ARGV[1], owner, ARGV[2], ARGV[3]}, ' '))
return 1
