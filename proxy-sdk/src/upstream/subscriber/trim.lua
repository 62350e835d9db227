-- Deletes what every group has acknowledged.
--
-- KEYS  1 `gim:upstream`
-- Answer: how many entries were deleted
--
-- Keeps: what a group has not read, or has read and not acknowledged, stays, and so does everything after it.

local function numbers(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
local least_ms, least_seq
for _, fields in ipairs(groups) do
  local group = {}
  for at = 1, #fields, 2 do group[fields[at]] = fields[at + 1] end
  local ms, seq
  if group['pending'] > 0 then
    ms, seq = numbers(redis.call('XPENDING', KEYS[1], group['name'])[2])
  else
    ms, seq = numbers(group['last-delivered-id'])
    seq = seq + 1
  end
  if not least_ms or ms < least_ms or (ms == least_ms and seq < least_seq) then
    least_ms, least_seq = ms, seq
  end
end
if not least_ms then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f-%.0f', least_ms, least_seq))
