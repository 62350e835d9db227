-- Names what is overdue in a mailbox and receipts are wanted of, and forgets what was named before and told since.
--
-- KEYS  1 who of the bucket is to be looked at, and when  2 stream  3 state
-- ARGV  1 limit (us)  2 uid  3 how long a letter is kept (ms)  4 most  5... of each that was told: offset, id
-- Answer  of each letter: offset, id
--
-- As long as any is named the user stays among those that are looked at: what nobody tells is named again.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local box = load(KEYS[2], '', KEYS[3])
if not box then
  redis.call('ZREM', KEYS[1], ARGV[2])
  return {}
end
for at = 5, #ARGV, 2 do
  local letter = redis.call('XRANGE', box.stream, ARGV[at], ARGV[at], 'COUNT', 1)[1]
  if letter and fields_of(letter).id == ARGV[at + 1] then
    drop(box, letter)
  end
end
if #ARGV > 4 then
  if redis.call('XLEN', box.stream) == 0 then
    redis.call('DEL', box.stream)
  end
  redis.call('HSET', box.state, 'bytes', number(box.bytes))
end
local over, soonest, count = {}, nil, 0
for _, letter in ipairs(wanted_upto(box, box.last, math.huge)) do
  local at = over_at(letter[2], tonumber(ARGV[3]))
  if at > now / 1000 then
    soonest = math.min(soonest or at, at)
  elseif count < tonumber(ARGV[4]) then
    count = count + 1
    over[#over + 1] = number(letter[1])
    over[#over + 1] = letter[2].id
  end
end
if count == 0 and soonest then
  redis.call('ZADD', KEYS[1], number(soonest), ARGV[2])
elseif count == 0 then
  redis.call('ZREM', KEYS[1], ARGV[2])
end
return over
