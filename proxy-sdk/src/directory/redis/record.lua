-- What the scripts of user records share; put before each of them. It answers nothing by itself.
--
-- A record is `1 <fence> <session> <incarnation> <node>`. A user's groups are a hash of tgid -> `temporary`, `durable` or
-- `leaving` (durable until a moment ago: no membership any more, and the group may still name the user), with the field
-- ` session` (whose temporary groups they are; no tgid begins with a space) and, after the user has left, ` until` (the
-- time in ms after which the temporary ones are void). ` change <tgid>` is a change of a durable membership that is not
-- finished: `<time in us until which it may go on> <who> <what there was before a join, or -> <members at most>`.
--
-- Keys that a script makes by itself (`<bucket>:at:<incarnation>`, `<bucket>:g:<uid>`, `<bucket>:p`) lie in the slot of
-- its first key.

-- Returns the record, or nothing; and an error to answer, if it is of another kind.
local function read(value)
  if not value then
    return nil, nil
  end
  local fence, session, incarnation, node = string.match(value, '^1 (%d+) (%S+) (%S+) (%S+)$')
  if not fence then
    return nil, redis.error_reply('CORRUPT user record')
  end
  return { fence = fence, session = session, incarnation = incarnation, node = node }, nil
end

local function leave_node(bucket, record, uid)
  redis.call('SREM', bucket .. ':at:' .. record.incarnation, uid)
end

-- Notes who came or went, for `gim:presence`, in the step that makes it so. The oldest go beyond the bound, as they would
-- there. `bound`: `` where nobody wants to know.
local function note(bucket, bound, uid, state, record, reason, now)
  if bound == '' then
    return
  end
  local at_ms = string.format('%.0f', math.floor(now / 1000))
  local news = { record.fence, record.session, record.node, state, reason, at_ms, uid }
  if redis.call('RPUSH', bucket .. ':p', table.concat(news, ' ')) > tonumber(bound) then
    redis.call('LPOP', bucket .. ':p')
  end
end

local function is_temporary(fields, at)
  return string.sub(fields[at], 1, 1) ~= ' ' and fields[at + 1] == 'temporary'
end

-- Has a user's groups expire if nothing of them is durable, and never otherwise.
local function expire(groups)
  local fields, till, temporary = redis.call('HGETALL', groups), nil, false
  for at = 1, #fields, 2 do
    if fields[at] == ' until' then
      till = fields[at + 1]
    elseif is_temporary(fields, at) then
      temporary = true
    elseif fields[at] ~= ' session' then
      redis.call('PERSIST', groups)
      return
    end
  end
  if not temporary then
    redis.call('DEL', groups)
  elseif till then
    redis.call('PEXPIREAT', groups, till)
  end
end

-- Keeps the groups of a user who is gone for a client that presents the session. Durable ones stay.
local function depart(groups, session, now, grace_ms)
  if redis.call('EXISTS', groups) == 0 then
    return
  end
  if tonumber(grace_ms) <= 0 then
    local fields = redis.call('HGETALL', groups)
    for at = 1, #fields, 2 do
      if is_temporary(fields, at) then
        redis.call('HDEL', groups, fields[at])
      end
    end
  end
  local till = math.floor(now / 1000) + tonumber(grace_ms)
  redis.call('HSET', groups, ' session', session, ' until', string.format('%.0f', till))
  expire(groups)
end
