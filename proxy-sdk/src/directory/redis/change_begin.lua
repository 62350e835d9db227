-- Begins to change a durable membership, or to finish a change whose author is gone. The user's side.
--
-- KEYS  1 bucket  2 the user's groups
-- ARGV  1 limit (us)  2 tgid  3 who changes  4 `durable`, `leaving`, or `` to finish  5 members at most
-- Answer  {`busy`}  another change of it may still take effect
--         {`nothing`}  it is as wanted, or there is nothing to finish
--         {`begun`, `durable` or `leaving`, members at most}
--
-- Keeps semantics 4: written user side first, then group. One change of a membership at a time: its steps are void after
-- its limit, and the next one waits a second longer, as the group's server may have another clock.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local field, want, most = ' change ' .. ARGV[2], ARGV[4], ARGV[5]
local state = redis.call('HGET', KEYS[2], ARGV[2]) or '-'
local before = state
local change = redis.call('HGET', KEYS[2], field)
if change then
  local till, _, was, bound = string.match(change, '^(%d+) (%S+) (%S+) (%d+)$')
  if not till then
    return redis.error_reply('CORRUPT change of a membership')
  end
  if tonumber(till) >= now then
    return { 'busy' }
  end
  before = was
  if want == '' then
    want, most = state, bound
  end
elseif want == '' or want == state or (want == 'leaving' and state ~= 'durable') then
  return { 'nothing' }
end
if want ~= 'durable' and want ~= 'leaving' then
  redis.call('HDEL', KEYS[2], field)
  return { 'nothing' }
end
local till = string.format('%.0f', tonumber(ARGV[1]) + 1000000)
redis.call('HSET', KEYS[2], ARGV[2], want, field, table.concat({ till, ARGV[3], before, most }, ' '))
redis.call('PERSIST', KEYS[2])
return { 'begun', want, most }
