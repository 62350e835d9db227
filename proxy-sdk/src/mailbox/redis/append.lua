-- Appends messages of a lane to mailboxes of one bucket.
--
-- KEYS  1 who of the bucket is to be looked at for what is overdue  of each user: stream, ids, state, the user's groups
-- ARGV  1 limit (us)  2 lane  3, 4 ms and seq of its low water, or ``  5 messages and 6 bytes a mailbox holds at most
--       7 how long it is kept (ms)  8 ids remembered before any is forgotten  9 term of the lane
--       10 how long a letter is kept (ms)  11 trimmed letters named by one append at most  12 number of messages
--       of each message: id, entry, kind, until (ms, 0: always), flags, payload, groups (with spaces between)
--       of each user: the messages for it, counted from 1, in order (with spaces between)
-- Answer  {letters trimmed, those of them that receipts are wanted of and that are not named, of each user: {epoch, of each
--         message: offset, or 0: in none of the groups; then the ids of what they trimmed, in lists with spaces between}}
--
-- Error: TERM: a later owner of the lane has appended here. It may have forgotten what this one appends once more.
--
-- Keeps semantics 6: idempotent by message id, lane and entry, until the entry lies below the low water of its lane; also
-- where the user has left the groups since.

local now = now_us()
local refusal = late(now, ARGV[1])
if refusal then
  return refusal
end
local lane = ARGV[2]
local low_ms, low_seq = tonumber(ARGV[3]), tonumber(ARGV[4])
local most, most_bytes, few = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8])
local term = ARGV[9]
local age, most_told = tonumber(ARGV[10]), tonumber(ARGV[11])
local messages, gone, untold = {}, 0, 0
local users_at = 12
for index = 1, tonumber(ARGV[12]) do
  local id = ARGV[users_at + 1]
  messages[index] = {
    id = id,
    field = id .. ' ' .. lane .. ' ' .. ARGV[users_at + 2],
    kind = ARGV[users_at + 3],
    till = ARGV[users_at + 4],
    flags = ARGV[users_at + 5],
    payload = ARGV[users_at + 6],
    groups = ARGV[users_at + 7],
  }
  users_at = users_at + 7
end

-- Groups that cannot be read are none, and no fault of the mailbox: nothing is raised here.
local function is_member(groups, tgids)
  for tgid in string.gmatch(tgids, '%S+') do
    local membership = redis.pcall('HGET', groups, tgid)
    if membership == 'durable' then
      return true
    end
    if membership == 'temporary' then
      local till = redis.pcall('HGET', groups, ' until')
      if not till or (tonumber(till) or 0) * 1000 > now then
        return true
      end
    end
  end
  return tgids == ''
end

local function is_below(field)
  local of, ms, seq = string.match(field, ' (%d+) (%d+)-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  return of == lane and (ms < low_ms or (ms == low_ms and seq < low_seq))
end

-- An entry below the low water does not come again.
local function forget_ids(box)
  local count = redis.call('HLEN', box.ids)
  if not low_ms or count < math.max(box.look, few) then
    return
  end
  for _, field in ipairs(redis.call('HKEYS', box.ids)) do
    if is_below(field) then
      redis.call('HDEL', box.ids, field)
      count = count - 1
    end
  end
  box.look = math.max(count * 2, few)
end

-- What receipts are wanted of is remembered with what has trimmed it: a repeat names it again.
local function tell_trimmed(box, message, told)
  if #told == 0 then
    return
  end
  untold = untold + math.max(#told - most_told, 0)
  redis.call('HSET', box.ids, '- ' .. message.field, table.concat(told, ' ', 1, math.min(#told, most_told)))
end

local function trim(box, message)
  local count, told = redis.call('XLEN', box.stream), {}
  while count > most or (box.bytes > most_bytes and count > 1) do
    local oldest = redis.call('XRANGE', box.stream, '-', '+', 'COUNT', 1)[1]
    local fields = drop(box, oldest)
    if is_wanted(fields) then
      told[#told + 1] = fields.id
    end
    box.trimmed = offset_of(oldest)
    count = count - 1
    gone = gone + 1
  end
  tell_trimmed(box, message, told)
end

-- The user is looked at when the first letter that receipts are wanted of may be over.
local function look_for(box, message, uid)
  box.wanted = box.last
  local at = over_at({ at = math.floor(now / 1000), ['until'] = message.till }, age)
  local known = redis.call('ZSCORE', KEYS[1], uid)
  if not known or tonumber(known) > at then
    redis.call('ZADD', KEYS[1], number(at), uid)
  end
end

local function append(box, message, uid)
  local offset = number(box.last + 1)
  redis.call('XADD', box.stream, offset .. '-0', 'id', message.id, 'kind', message.kind, 'at',
    number(math.floor(now / 1000)), 'until', message.till, 'flags', message.flags, 'payload', message.payload)
  forget_ids(box)
  redis.call('HSET', box.ids, message.field, offset)
  box.last = box.last + 1
  box.bytes = box.bytes + #message.payload
  if is_wanted(message) then
    look_for(box, message, uid)
  end
  trim(box, message)
  return box.last
end

local function append_all(stream, ids, state, groups, indexes)
  local box = load(stream, ids, state)
  local answer = { box and box.epoch or 0 }
  local last, wanted = box and box.last, box and box.wanted
  local uid = string.match(stream, '}:m:(.*)$')
  local trims = {}
  local function named(message)
    local ids = box.wanted > 0 and redis.call('HGET', box.ids, '- ' .. message.field)
    if ids then
      trims[#trims + 1] = ids
    end
  end
  local of_lane = 'term ' .. lane
  local held = box and redis.call('HGET', state, of_lane)
  if held and tonumber(held) > tonumber(term) then
    return redis.error_reply('TERM ' .. held)
  end
  for index in string.gmatch(indexes, '%d+') do
    local message = messages[tonumber(index)]
    local known = box and tonumber(redis.call('HGET', box.ids, message.field))
    if known then
      answer[#answer + 1] = known
      named(message)
    elseif is_member(groups, message.groups) then
      box = box or begin(stream, ids, state, now)
      answer[1] = box.epoch
      answer[#answer + 1] = append(box, message, uid)
      named(message)
    else
      answer[#answer + 1] = 0
    end
  end
  if box and box.last ~= last then
    redis.call('HSET', box.state, 'last', number(box.last), 'trimmed', number(box.trimmed), 'bytes',
      number(box.bytes), 'look', number(box.look), of_lane, term)
    if box.wanted > (wanted or 0) then
      redis.call('HSET', box.state, 'wanted', number(box.wanted))
    end
  end
  if box then
    keep_for(box, ARGV[7])
  end
  for _, ids in ipairs(trims) do
    answer[#answer + 1] = ids
  end
  return answer
end

-- A mailbox that is not what this version writes would stop the whole lane: it is begun anew.
local function is_broken(problem)
  local text = type(problem) == 'table' and problem.err or tostring(problem)
  return string.find(text, 'WRONGTYPE', 1, true) or string.find(text, 'specified in XADD', 1, true)
end

local answers = { 0, 0 }
for at = 2, #KEYS, 4 do
  users_at = users_at + 1
  local stream, ids, state, groups, indexes = KEYS[at], KEYS[at + 1], KEYS[at + 2], KEYS[at + 3], ARGV[users_at]
  local done, answer = pcall(append_all, stream, ids, state, groups, indexes)
  if not done then
    if not is_broken(answer) then
      return type(answer) == 'table' and answer or redis.error_reply(answer)
    end
    redis.call('DEL', stream, ids, state)
    answer = append_all(stream, ids, state, groups, indexes)
  end
  if answer.err then
    return answer
  end
  answers[#answers + 1] = answer
end
answers[1], answers[2] = gone, untold
return answers
