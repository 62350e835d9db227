-- Takes an entry out of a lane that nobody has begun to deliver.
--
-- KEYS  1 the stream, 2 `later`, 3 its bodies, 4 the mark of the message id
-- ARGV  1 the entry, if the message id names it, or ''
-- Answer: {'none'}: it is not known here. {'late'}: it was read, or has its outcome. {'done', fields and values ...}
-- Keeps: what was handed out to the worker is never taken from under it. What was taken out counts as read, so that nobody
-- believes it lost.
local function named(flat)
  local fields = {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end
local function before(one, other)
  local ms, seq = string.match(one, '(%d+)-(%d+)')
  local other_ms, other_seq = string.match(other, '(%d+)-(%d+)')
  ms, seq, other_ms, other_seq = tonumber(ms), tonumber(seq), tonumber(other_ms), tonumber(other_seq)
  return ms < other_ms or (ms == other_ms and seq < other_seq)
end
local marked = redis.call('GET', KEYS[4])
local entry = marked or ARGV[1]
if entry == '' then
  return {'none'}
end
local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
if not ms then
  return {'none'}
end
local member = string.format('%016x-%016x', ms, seq)
local score = redis.call('ZSCORE', KEYS[2], member)
if score then
  -- Below 0 it was tried, or waits behind what was.
  if tonumber(score) < 0 then
    return {'late'}
  end
  local body = redis.call('HGET', KEYS[3], member)
  redis.call('ZREM', KEYS[2], member)
  redis.call('HDEL', KEYS[3], member)
  local answer = {'done'}
  local at = body and 9 + struct.unpack('>I4', body, 5) or 1
  while body and at <= #body do
    local length = struct.unpack('>I4', body, at)
    answer[#answer + 1] = string.sub(body, at + 4, at + 3 + length)
    at = at + 4 + length
  end
  return answer
end
local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
if not found then
  return {marked and 'late' or 'none'}
end
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
for _, flat in ipairs(groups.err and {} or groups) do
  local group = named(flat)
  if group.name == 'gim' then
    if not before(group['last-delivered-id'], entry) then
      return {'late'}
    end
    local read = group['entries-read']
    if read then
      redis.pcall('XGROUP', 'SETID', KEYS[1], 'gim', group['last-delivered-id'], 'ENTRIESREAD', read + 1)
    end
  end
end
redis.call('XDEL', KEYS[1], entry)
local answer = {'done'}
for _, part in ipairs(found[2]) do
  answer[#answer + 1] = part
end
return answer
