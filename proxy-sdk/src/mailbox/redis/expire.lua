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
local uid, age, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local function forget_told(box)
  local count = 0
  for at = 5, #ARGV, 2 do
    local letter = redis.call('XRANGE', box.stream, ARGV[at], ARGV[at], 'COUNT', 1)[1]
    if letter and fields_of(letter).id == ARGV[at + 1] then
      drop(box, letter)
      count = count + 1
    end
  end
  if count > 0 then
    if redis.call('XLEN', box.stream) == 0 then
      redis.call('DEL', box.stream)
    end
    redis.call('HSET', box.state, 'bytes', number(box.bytes))
  end
end

-- Whoever is not looked at any more is taken off; without room for when the next one is over, it is looked at again instead.
local function look_again(soonest)
  if soonest then
    redis.pcall('ZADD', KEYS[1], number(soonest), uid)
  else
    redis.call('ZREM', KEYS[1], uid)
  end
end

local function expire()
  local box = load(KEYS[2], '', KEYS[3])
  if not box then
    look_again()
    return {}
  end
  forget_told(box)
  local over, soonest, count = {}, nil, 0
  for _, letter in ipairs(wanted_upto(box, box.last, math.huge)) do
    local at = over_at(letter[2], age)
    if at > now / 1000 then
      soonest = math.min(soonest or at, at)
    elseif count < most then
      count = count + 1
      over[#over + 1] = number(letter[1])
      over[#over + 1] = letter[2].id
    end
  end
  if count == 0 then
    look_again(soonest)
  end
  return over
end

-- A mailbox that is not what this version writes has nothing to be told, and must not be in the way of those that have.
local done, answer = pcall(expire)
if done then
  return answer
end
local text = type(answer) == 'table' and answer.err or tostring(answer)
if string.find(text, 'WRONGTYPE', 1, true) or string.find(text, 'attempt to', 1, true) then
  redis.pcall('ZREM', KEYS[1], uid)
  return {}
end
return type(answer) == 'table' and answer or redis.error_reply(text)
