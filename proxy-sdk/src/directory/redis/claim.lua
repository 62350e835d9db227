-- Makes a session the owner of a uid.
--
-- KEYS  1 bucket  2 the user's groups  3 users of the bucket at the claiming incarnation
--       4 stream, 5 ids and 6 state of the mailbox, 7 last values: if the mailbox is to be opened
-- ARGV  1 limit (us)  2 uid  3 session  4 incarnation  5 node  6 `replace` or `keep`  7 session to resume, or ``
--       8 record that may be replaced although the policy is `keep`, because its incarnation is dead; or ``
--       9 news noted per bucket, or ``  10 how long the mailbox is kept (ms)
-- Answer  {`granted`, fence, record of another session that owned it or ``, {tgid..}, {tgid of unfinished changes..}}
--         and behind that, if the mailbox was opened: {epoch, last, acked}, {time (ms), {field, value..}}
--         {`taken`, record of the session that keeps it}
--
-- Keeps semantics 3: one owner per uid, and fence = max(previous + 1, TIME in us), which survives releases and lost
-- data. The same session and incarnation get the same fence again. Keeps semantics 4: temporary groups are for the
-- session that has them and the one that resumes it, and end otherwise; durable ones are everybody's who owns the uid.
-- Keeps semantics 6: the mailbox is opened by the owner, not before it is in its groups: where there are any, not here.
-- (The first word of an answer is never a user's: fred takes an array that begins with `message` for a publication.)

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local value = redis.call('HGET', KEYS[1], ARGV[2])
local previous, corrupt = read(value)
if corrupt then
  return corrupt
end
local same = previous and previous.session == ARGV[3]
if previous and not same and ARGV[6] ~= 'replace' and value ~= ARGV[8] then
  return { 'taken', value }
end

-- Read before anything is written: what is no mailbox lets nobody in, and changes nothing.
local box, values
if KEYS[4] then
  box = load(KEYS[4], KEYS[5], KEYS[6])
  values = redis.call('HGETALL', KEYS[7])
end
local fields = redis.call('HGETALL', KEYS[2])
local of, till = nil, nil
for at = 1, #fields, 2 do
  if fields[at] == ' session' then
    of = fields[at + 1]
  elseif fields[at] == ' until' then
    till = tonumber(fields[at + 1])
  end
end
local in_time = previous or (till and till * 1000 > now)
local carried = of and in_time and (of == ARGV[3] or of == ARGV[7])
local groups, void, changes = {}, {}, {}
for at = 1, #fields, 2 do
  if string.sub(fields[at], 1, 8) == ' change ' then
    changes[#changes + 1] = string.sub(fields[at], 9)
  elseif string.sub(fields[at], 1, 1) ~= ' ' then
    if fields[at + 1] == 'durable' or (carried and fields[at + 1] == 'temporary') then
      groups[#groups + 1] = fields[at]
    elseif fields[at + 1] == 'temporary' then
      void[#void + 1] = fields[at]
    end
  end
end
if #groups == 0 and #changes == 0 then
  if #fields > 0 then
    redis.call('DEL', KEYS[2])
  end
else
  for _, tgid in ipairs(void) do
    redis.call('HDEL', KEYS[2], tgid)
  end
  redis.call('HSET', KEYS[2], ' session', ARGV[3])
  redis.call('HDEL', KEYS[2], ' until')
  redis.call('PERSIST', KEYS[2])
end

if same and previous.incarnation == ARGV[4] then
  return { 'granted', previous.fence, '', groups, changes }
end
local fence = now
if previous and tonumber(previous.fence) >= fence then
  fence = tonumber(previous.fence) + 1
end
local number = string.format('%.0f', fence)
redis.call('HSET', KEYS[1], ARGV[2], '1 ' .. number .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
if previous and previous.incarnation ~= ARGV[4] then
  leave_node(KEYS[1], previous, ARGV[2])
end
redis.call('SADD', KEYS[3], ARGV[2])
local claimed = { fence = number, session = ARGV[3], node = ARGV[5] }
note(KEYS[1], ARGV[9], ARGV[2], 'online', claimed, 'login', now)
local granted = { 'granted', number, previous and not same and value or '', groups, changes }
if not KEYS[4] or #groups > 0 then
  return granted
end
if not box then
  redis.call('HSET', KEYS[6], 'epoch', string.format('%.0f', now), 'fence', number)
  redis.call('DEL', KEYS[4], KEYS[5])
  redis.call('PEXPIRE', KEYS[6], ARGV[10])
  box = { epoch = now, last = 0, acked = 0 }
else
  keep_for(box, ARGV[10])
  if fence > box.fence then
    redis.call('HSET', KEYS[6], 'fence', number)
  end
end
granted[6] = { box.epoch, box.last, box.acked }
granted[7] = { math.floor(now / 1000), values }
return granted
