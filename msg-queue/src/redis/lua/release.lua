-- Below fence.lua. Gives the lease of a lane back.
-- KEYS[1] lease
-- Keeps: a lane whose owner ends in good order moves at once.
return redis.call('DEL', KEYS[1])
