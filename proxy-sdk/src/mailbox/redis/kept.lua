-- Names the values kept for newcomers.
--
-- KEYS  1 values
-- ARGV  1 limit (us), of no matter: it changes nothing
-- Answer  {time (ms), {field, value..}}

return { math.floor(now_us() / 1000), redis.call('HGETALL', KEYS[1]) }
