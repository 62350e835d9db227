-- Puts a record in the place of the one expected, so that of two who take a place at once one has it.
-- KEYS: node key. ARGV: expected record, or its incarnation, or '' for none; new record or '' for none; time to live in
-- ms. Answer: 1 done, 0 not.
local found = redis.call('GET', KEYS[1]) or ''
-- Done before, by a call whose answer was lost.
if ARGV[2] ~= '' and found == ARGV[2] then return 1 end
if found ~= ARGV[1] then
  -- A run's record may say more than its writer knows it does: an answer was lost.
  local ok, record = pcall(cjson.decode, found)
  if not ok or type(record) ~= 'table' or record.incarnation ~= ARGV[1] then return 0 end
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
