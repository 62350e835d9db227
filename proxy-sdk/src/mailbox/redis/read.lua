-- Reads a page of a mailbox.
--
-- KEYS  1 stream  2 state
-- ARGV  1 limit (us), of no matter: it changes nothing  2 offset after which it is read  3 messages and 4 bytes at most
--       5 how long a letter is kept (ms)
-- Answer  {epoch, last, acked, trimmed, 1: there is more, of each letter: {offset, kind, id, until, flags, payload}, or,
--         where its time is over, {offset}, and the id too if receipts of it are wanted}; of no mailbox: {0}
--
-- At least one letter, if there is one.

local COUNT = 16
local now_ms = math.floor(now_us() / 1000)
local box = load(KEYS[1], '', KEYS[2])
if not box then
  return { 0 }
end
local most, most_bytes, age = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local page = { box.epoch, box.last, box.acked, box.trimmed, 0 }
local count, bytes = 0, 0
local after = '(' .. number(math.min(math.max(tonumber(ARGV[2]), box.acked), box.last)) .. '-0'
while after do
  local letters = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', COUNT)
  after = #letters == COUNT and '(' .. letters[COUNT][1]
  for _, letter in ipairs(letters) do
    local fields = fields_of(letter)
    if count > 0 and (count >= most or bytes + #fields.payload > most_bytes) then
      page[5] = 1
      return page
    end
    if over_at(fields, age) <= now_ms then
      page[#page + 1] = { offset_of(letter), is_wanted(fields) and fields.id or nil }
    else
      count = count + 1
      bytes = bytes + #fields.payload
      page[#page + 1] =
        { offset_of(letter), fields.kind, fields.id, fields['until'], fields.flags, fields.payload }
    end
  end
end
return page
