-- Below fence.lua. Reads pending entries again, in the order given, and counts one more delivery of each. What was
-- trimmed away while it was pending is acknowledged and reported.
-- KEYS[2] stream   ARGV[2] most bytes   ARGV[3...] id, deliveries so far; the same call twice counts once
-- Answer: {ids dealt with, {id, deliveries before, fields, ...}, ids that are gone}
-- Keeps: an entry read and not settled comes again (semantics 5, 9).
local most_bytes = tonumber(ARGV[2])
local out, gone, bytes, dealt = {}, {}, 0, 0
for i = 3, #ARGV, 2 do
  local id, count = ARGV[i], ARGV[i + 1]
  if bytes >= most_bytes then
    break
  end
  dealt = dealt + 1
  -- It may have been settled since it was listed.
  if redis.call('XPENDING', KEYS[2], 'gim', id, id, 1)[1] then
    local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
    if entry then
      redis.call('XCLAIM', KEYS[2], 'gim', 'lane', 0, id, 'RETRYCOUNT', count + 1, 'JUSTID')
      for _, part in ipairs(entry[2]) do
        bytes = bytes + #part
      end
      out[#out + 1] = id
      out[#out + 1] = count
      out[#out + 1] = entry[2]
    else
      redis.call('XACK', KEYS[2], 'gim', id)
      gone[#gone + 1] = id
    end
  end
end
return {dealt, out, gone}
