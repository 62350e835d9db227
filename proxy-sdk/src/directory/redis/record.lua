-- What the scripts of user records share; put before each of them. It answers nothing by itself.
--
-- A record is `1 <fence> <session> <incarnation> <node>`. A user's groups are a hash of tgid -> `temporary`, with the
-- field ` session` (whose groups they are; no tgid begins with a space) and, after the user has left, ` until` (the
-- time in ms after which the temporary ones are void).
--
-- Keys that a script makes by itself (`<bucket>:at:<incarnation>`, `<bucket>:g:<uid>`) lie in the slot of its first key.

-- Returns the record, or nothing; and an error to answer, if it is of another kind.
local function read(value)
  if not value then
    return nil, nil
  end
  local fence, session, incarnation = string.match(value, '^1 (%d+) (%S+) (%S+) %S+$')
  if not fence then
    return nil, redis.error_reply('CORRUPT user record')
  end
  return { fence = fence, session = session, incarnation = incarnation }, nil
end

local function leave_node(bucket, record, uid)
  redis.call('SREM', bucket .. ':at:' .. record.incarnation, uid)
end

-- Keeps the groups of a user who is gone for a client that presents the session.
local function depart(groups, session, now, grace_ms)
  if redis.call('EXISTS', groups) == 0 then
    return
  end
  if tonumber(grace_ms) <= 0 then
    redis.call('DEL', groups)
    return
  end
  local till = math.floor(now / 1000) + tonumber(grace_ms)
  redis.call('HSET', groups, ' session', session, ' until', string.format('%.0f', till))
  redis.call('PEXPIRE', groups, grace_ms)
end
