-- Takes a message out that is not acknowledged: of several with the id the last.
--
-- KEYS  1 stream  2 ids  3 state
-- ARGV  1 limit (us)  2 message id
-- Answer  1: it was there  0: it was not
--
-- Its id stays known, so that its entry does not bring it back.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local box = load(KEYS[1], KEYS[2], KEYS[3])
if not box then
  return 0
end

local function cancel(letter)
  drop(box, letter)
  if redis.call('XLEN', box.stream) == 0 then
    redis.call('DEL', box.stream)
  end
  redis.call('HSET', box.state, 'bytes', number(box.bytes))
  return 1
end

local known = redis.call('HGET', box.ids, ARGV[2])
if known then
  local offset = string.match(known, '^%d+')
  local letter = redis.call('XRANGE', box.stream, offset, offset)[1]
  if letter and fields_of(letter).id == ARGV[2] then
    return cancel(letter)
  end
end
-- The id may have been forgotten before the message was acknowledged.
local before = '+'
repeat
  local letters = redis.call('XREVRANGE', box.stream, before, '-', 'COUNT', 16)
  for _, letter in ipairs(letters) do
    if fields_of(letter).id == ARGV[2] then
      return cancel(letter)
    end
    before = '(' .. letter[1]
  end
until #letters == 0
return 0
