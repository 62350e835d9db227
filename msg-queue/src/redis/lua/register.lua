-- Below fence.lua. Says which connection reads the lane, so that whoever takes the lane over can end it first, and whoever
-- redrives can wake it.
-- KEYS[1] lease   ARGV[2] client id   ARGV[3] run_id of the server that client id belongs to
-- Keeps: a new owner ends the previous reader before it reads (semantics 5).
redis.call('HSET', KEYS[1], 'client', ARGV[2], 'run', ARGV[3])
return 1
