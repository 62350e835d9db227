-- Names letters up to an offset that are not acknowledged and that receipts are wanted of.
--
-- KEYS  1 stream  2 state
-- ARGV  1 limit (us), of no matter: it changes nothing  2, 3 epoch and offset  4 how long a letter is kept (ms)  5 most
-- Answer  of each letter: offset, id, 1: its time is over

local now_ms = math.floor(now_us() / 1000)
local box = load(KEYS[1], '', KEYS[2])
local answer = {}
if not box or box.epoch ~= tonumber(ARGV[2]) then
  return answer
end
for _, letter in ipairs(wanted_upto(box, tonumber(ARGV[3]), tonumber(ARGV[5]))) do
  local offset, fields = letter[1], letter[2]
  answer[#answer + 1] = number(offset)
  answer[#answer + 1] = fields.id
  answer[#answer + 1] = over_at(fields, tonumber(ARGV[4])) <= now_ms and '1' or '0'
end
return answer
