-- Below fence.lua. Turns entries into dead letters, with all their fields and those that say why.
-- KEYS[2] stream   KEYS[3] later   KEYS[4] bodies   KEYS[5] dead letters
-- ARGV[2] most letters kept   ARGV[3...] id, member, reason, attempts, error, failed targets, rest or ''
-- Answer: how many old letters had to go. Repeating it has no effect.
-- Of very many fields only the first are kept: Lua passes no more than some 8,000 arguments at once.
-- Keeps: an accepted message has exactly one outcome; a dead letter names its failed targets (semantics 1).
local MOST_FIELDS = 3000
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local function unpacked(body)
  local parts, at = {}, 9 + struct.unpack('>I4', body, 5)
  while at <= #body and #parts < 2 * MOST_FIELDS do
    parts[#parts + 1], at = struct.unpack('>I4c0', body, at)
  end
  return parts
end
for i = 3, #ARGV, 7 do
  local id, member = ARGV[i], ARGV[i + 1]
  local was = redis.call('ZSCORE', KEYS[3], member)
  local fields
  if was then
    local body = tonumber(was) < -1e15 and redis.call('HGET', KEYS[4], member)
    fields = body and unpacked(body)
  else
    local pending = redis.pcall('XPENDING', KEYS[2], 'gim', id, id, 1)
    if not pending.err and pending[1] then
      -- What was trimmed away leaves a letter that says so much at least.
      local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
      fields = entry and entry[2] or {}
    end
  end
  if fields then
    local letter = {}
    for n = 1, math.min(#fields, 2 * MOST_FIELDS) do
      letter[n] = fields[n]
    end
    local names = {'gim_reason', 'gim_attempts', 'gim_error', 'gim_entry', 'gim_at_ms', 'gim_failed_targets'}
    local values = {ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], id, now, ARGV[i + 5]}
    if ARGV[i + 6] ~= '' then
      names[7], values[7] = 'gim_rest', ARGV[i + 6]
    end
    for n, name in ipairs(names) do
      letter[#letter + 1] = name
      letter[#letter + 1] = values[n]
    end
    redis.call('XADD', KEYS[5], '*', unpack(letter))
    if was then
      redis.call('ZREM', KEYS[3], member)
      redis.call('HDEL', KEYS[4], member)
    else
      redis.call('XACK', KEYS[2], 'gim', id)
      redis.call('XDEL', KEYS[2], id)
    end
  end
end
return redis.call('XTRIM', KEYS[5], 'MAXLEN', ARGV[2])
