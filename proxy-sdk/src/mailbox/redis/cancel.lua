-- Takes a message out that is not acknowledged: of several with the id the last.
--
-- KEYS  1 stream  2 state
-- ARGV  1 limit (us)  2 message id
-- Answer  1: it was there  0: it was not
--
-- It stays known, so that its entry does not bring it back.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local box = load(KEYS[1], '', KEYS[2])
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

-- In the stream, not by what is known: the last may be forgotten already where one before it is not.
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
