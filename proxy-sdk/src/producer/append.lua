-- Appends entries to a lane: all of them, or none. An entry whose id is marked is not appended again.
--
-- KEYS  1 the stream, 2 `later`, from 3 on the marks of the entries that have an id
-- ARGV  1 how many entries the stream may hold, 2 how many `later` may hold, 3 how long a mark stays, in ms, 4 how many
--       entries are scheduled, 5 for each entry four bytes: 32768 if it is scheduled plus which of KEYS marks it (0: none),
--       and the number of its names and values, 6 for each entry four bytes: seconds until its time; from 7 on the names and
--       values of all of them
-- Answer: the entry ids, in order; for a repeat the id that was given to the first
-- Errors: ENTRIES, LATER: a bound is reached. OOM: out of memory. Nothing was written.
--
-- Keeps: an id within its lane counts once within the window (semantics 7). The first write is refused when memory is
-- short and none after it, so that a call is never half accepted.

local SCHEDULED = 32768
local heads = ARGV[5]
local entries, scheduled = #heads / 4, tonumber(ARGV[4])
local answer, same = {}, {}

if #KEYS > 2 then
  local marked, first = redis.call('MGET', unpack(KEYS, 3)), {}
  for entry = 1, #heads / 4 do
    local head = struct.unpack('>I2', heads, entry * 4 - 3)
    local key = head % SCHEDULED
    local mark = KEYS[key]
    if mark then
      same[entry] = first[mark]
      if not first[mark] then
        first[mark] = entry
        answer[entry] = marked[key - 2] or nil
      end
      if same[entry] or answer[entry] then
        entries = entries - 1
        if head >= SCHEDULED then scheduled = scheduled - 1 end
      end
    end
  end
end

if entries > 0 and redis.call('XLEN', KEYS[1]) + entries > tonumber(ARGV[1]) then
  return redis.error_reply('ENTRIES the lane is full')
end
if scheduled > 0 and redis.call('ZCARD', KEYS[2]) + scheduled > tonumber(ARGV[2]) then
  return redis.error_reply('LATER too many wait for their time')
end

local at = 7
for entry = 1, #heads / 4 do
  local head, count = struct.unpack('>I2I2', heads, entry * 4 - 3)
  if same[entry] then
    answer[entry] = answer[same[entry]]
  elseif not answer[entry] then
    local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, at, at + count - 1))
    local mark = KEYS[head % SCHEDULED]
    if mark then
      -- What is scheduled can be taken back until its time.
      local wait = struct.unpack('>I4', ARGV[6], entry * 4 - 3)
      redis.call('SET', mark, id, 'PX', string.format('%.0f', ARGV[3] + wait * 1000))
    end
    answer[entry] = id
  end
  at = at + count
end
return answer
