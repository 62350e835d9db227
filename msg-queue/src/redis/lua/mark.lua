-- Below fence.lua. Notes which entry carries a message id, unless another one did within the window.
-- KEYS[2...] ids   ARGV[2...] per id its entry, and for how long it is noted, in milliseconds
-- Answer: per id '' if it is the entry's own, else the entry that carried it before.
-- Keeps: an id is delivered once within its window, also by plain XADD (semantics 7).
local out = {}
for i = 2, #KEYS do
  local entry, window = ARGV[2 * i - 2], ARGV[2 * i - 1]
  local first = redis.call('GET', KEYS[i])
  if not first then
    redis.call('SET', KEYS[i], entry, 'PX', window)
  end
  out[#out + 1] = (not first or first == entry) and '' or first
end
return out
