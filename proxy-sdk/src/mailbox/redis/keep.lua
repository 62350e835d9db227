-- Keeps last values for newcomers, of one user or group.
--
-- KEYS  1 values
-- ARGV  1 limit (us)  2 keys kept at most  3 how long they are kept (ms)  of each value: key, entry, value
-- Answer  nothing of meaning
--
-- A hash of collapse key -> value. The field without a name holds the order of writing, oldest first, in lines
-- `<entry> <key>`. A lower entry never replaces a higher.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local entries, keys = {}, {}
for entry, key in string.gmatch(redis.call('HGET', KEYS[1], '') or '', '(%S+) ([^\n]+)') do
  entries[#entries + 1] = entry
  keys[#keys + 1] = key
end

local function is_higher(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or (ms == other_ms and tonumber(seq) > tonumber(other_seq))
end

local function place_of(wanted)
  for at, key in ipairs(keys) do
    if key == wanted then
      return at
    end
  end
end

local function keep(key, entry, value)
  local at = place_of(key)
  if at and is_higher(entries[at], entry) then
    return
  end
  redis.call('HSET', KEYS[1], key, value)
  if not at and #keys >= tonumber(ARGV[2]) then
    at = 1
    redis.call('HDEL', KEYS[1], keys[at])
  end
  if at then
    table.remove(keys, at)
    table.remove(entries, at)
  end
  keys[#keys + 1] = key
  entries[#entries + 1] = entry
end

for at = 4, #ARGV, 3 do
  keep(ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
local lines = {}
for at, key in ipairs(keys) do
  lines[at] = entries[at] .. ' ' .. key
end
redis.call('HSET', KEYS[1], '', table.concat(lines, '\n'))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
