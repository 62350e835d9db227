-- What the scripts of mailboxes share; put before each of them. It answers nothing by itself.
--
-- A mailbox is a stream of letters (entry id `<offset>-0`), a hash of the messages known (`<message id> <lane> <entry>`,
-- ids having no spaces, -> offset; `- <message id> <lane> <entry>` -> ids that its append has trimmed, of those that
-- receipts are wanted of) and a hash of its state (epoch, last, acked, trimmed, bytes, look, fence, wanted, and `term <lane>` of the last owner of each lane that appended; what is missing there is 0). Where the state is missing, so
-- is the mailbox. All in whole numbers below 2^53.
--
-- The first write of a script that takes room is one that Redis refuses when it has none; of one that makes room it is
-- one that Redis never refuses, upon which it allows the rest.

local function number(value)
  return string.format('%.0f', value)
end

local function load(stream, ids, state)
  local held = redis.call('HMGET', state, 'epoch', 'last', 'acked', 'trimmed', 'bytes', 'look', 'fence',
    'wanted')
  if not tonumber(held[1]) then
    return nil
  end
  return {
    stream = stream,
    ids = ids,
    state = state,
    epoch = tonumber(held[1]),
    last = tonumber(held[2]) or 0,
    acked = tonumber(held[3]) or 0,
    trimmed = tonumber(held[4]) or 0,
    bytes = tonumber(held[5]) or 0,
    look = tonumber(held[6]) or 0,
    fence = tonumber(held[7]) or 0,
    -- The highest offset of which receipts are wanted.
    wanted = tonumber(held[8]) or 0,
  }
end

local function begin(stream, ids, state, epoch)
  redis.call('HSET', state, 'epoch', number(epoch))
  redis.call('DEL', stream, ids)
  return load(stream, ids, state)
end

local function keep_for(box, ms)
  for _, key in ipairs({ box.stream, box.ids, box.state }) do
    redis.call('PEXPIRE', key, ms)
  end
end

local function offset_of(letter)
  return tonumber(string.match(letter[1], '^%d+'))
end

local function fields_of(letter)
  local fields = {}
  for at = 1, #letter[2], 2 do
    fields[letter[2][at]] = letter[2][at + 1]
  end
  return fields
end

local function drop(box, letter)
  local fields = fields_of(letter)
  redis.call('XDEL', box.stream, letter[1])
  box.bytes = box.bytes - #fields.payload
  return fields
end

local function is_wanted(fields)
  return math.floor((tonumber(fields.flags) or 0) / 2) % 2 == 1
end

-- When its time is over, Unix milliseconds.
local function over_at(fields, age)
  local till = tonumber(fields['until'])
  local aged = tonumber(fields.at) + age
  return till > 0 and math.min(till, aged) or aged
end

-- Letters up to an offset that receipts are wanted of, the first of them: {offset, fields} each.
local function wanted_upto(box, offset, most)
  local found, from = {}, '-'
  local upto = math.min(offset, box.wanted)
  if upto <= box.acked then
    return found
  end
  repeat
    local letters = redis.call('XRANGE', box.stream, from, number(upto), 'COUNT', 100)
    for _, letter in ipairs(letters) do
      local fields = fields_of(letter)
      if is_wanted(fields) then
        found[#found + 1] = { offset_of(letter), fields }
        if #found == most then
          return found
        end
      end
      from = '(' .. letter[1]
    end
  until #letters == 0
  return found
end

-- Whether a session with this fence was superseded: a higher one is on record, or has opened the mailbox.
local function is_superseded(box, bucket, uid, fence)
  local record = redis.call('HGET', bucket, uid)
  local owner = record and tonumber(string.match(record, '^1 (%d+) ')) or 0
  return math.max(owner, box and box.fence or 0) > tonumber(fence)
end

-- Bytes of the letters up to an offset, of which there are later ones.
local function bytes_upto(box, offset)
  local bytes, from = 0, '-'
  repeat
    local letters = redis.call('XRANGE', box.stream, from, number(offset), 'COUNT', 100)
    for _, letter in ipairs(letters) do
      bytes = bytes + #fields_of(letter).payload
      from = '(' .. letter[1]
    end
  until #letters == 0
  return bytes
end

local function ack_upto(box, offset)
  if offset <= box.acked then
    return
  end
  if offset >= box.last then
    redis.call('DEL', box.stream)
    box.bytes = 0
  else
    box.bytes = box.bytes - bytes_upto(box, offset)
    redis.call('XTRIM', box.stream, 'MINID', number(offset + 1))
  end
  box.acked = offset
  redis.call('HSET', box.state, 'acked', number(offset), 'bytes', number(box.bytes))
end

