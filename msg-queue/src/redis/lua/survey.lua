-- Below fence.lua. Counts what a lane holds, and trims what every group of its stream has settled.
-- KEYS[2] stream   KEYS[3] later   ARGV[2] most entries to trim
-- Answer: {unread, scheduled, pending, lowest pending id or '', entries that vanished unread, entries trimmed}
-- Vanished: trimmed away by others before they were read. Found where the server counts reads (7.0 on); the count is put
-- right, so that each is told once.
-- Keeps: trimming removes only what is settled (semantics 5).
local function less(one, other)
  local ms, seq = string.match(one, '(%d+)-(%d+)')
  local other_ms, other_seq = string.match(other, '(%d+)-(%d+)')
  ms, seq, other_ms, other_seq = tonumber(ms), tonumber(seq), tonumber(other_ms), tonumber(other_seq)
  return ms < other_ms or (ms == other_ms and seq < other_seq)
end
local function named(flat)
  local fields = {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[2])
if groups.err then
  return redis.error_reply('NOGROUP the stream is gone')
end
local own, lowest_pending, keep_from
for _, flat in ipairs(groups) do
  local group = named(flat)
  local from = group['last-delivered-id']
  local pending = redis.call('XPENDING', KEYS[2], group.name)
  if pending[1] > 0 and less(pending[2], from) then
    from = pending[2]
  end
  if group.name == 'gim' then
    own, lowest_pending = group, pending[1] > 0 and pending[2] or ''
  end
  if not keep_from or less(from, keep_from) then
    keep_from = from
  end
end
if not own then
  return redis.error_reply('NOGROUP the group is gone')
end
local length = redis.call('XLEN', KEYS[2])
local delivered, lag = own['last-delivered-id'], own.lag
local unread, is_exact = 0, true
if length > 0 and less(delivered, redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1][1]) then
  if less(delivered, redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1][1]) then
    unread = length
  else
    unread, is_exact = lag or math.max(1, length - own.pending), false
  end
end
local vanished = 0
if is_exact and lag and lag > unread then
  vanished = lag - unread
  local added = named(redis.call('XINFO', 'STREAM', KEYS[2]))['entries-added']
  redis.pcall('XGROUP', 'SETID', KEYS[2], 'gim', delivered, 'ENTRIESREAD', added - unread)
end
local trimmed = redis.call('XTRIM', KEYS[2], 'MINID', '~', keep_from, 'LIMIT', ARGV[2])
local scheduled = redis.call('ZCOUNT', KEYS[3], '-1000000000000000', '+inf')
return {unread, scheduled, own.pending, lowest_pending, vanished, trimmed}
