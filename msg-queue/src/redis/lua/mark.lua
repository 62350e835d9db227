-- Below fence.lua. Notes which entry carries a message id, unless another one did within the window.
-- KEYS[2...] ids, at most 7,000   ARGV[2...] per id its entry, and for how long it is noted, in milliseconds
-- Answer: per id '' if it is the entry's own, else the entry that carried it before.
-- Keeps: an id is delivered once within its window, also by plain XADD (semantics 7).
local out, noted = {}, {}
-- One question costs less than as many as there are ids; users of Redis made for an earlier version may not ask it.
local marks = redis.pcall('MGET', unpack(KEYS, 2))
for i = 2, #KEYS do
  local key, entry, window = KEYS[i], ARGV[2 * i - 2], ARGV[2 * i - 1]
  local first
  if marks.err then
    first = redis.call('GET', key)
  else
    first = noted[key] or marks[i - 1]
  end
  if not first then
    redis.call('SET', key, entry, 'PX', window)
    noted[key] = entry
  end
  out[#out + 1] = (not first or first == entry) and '' or first
end
return out
