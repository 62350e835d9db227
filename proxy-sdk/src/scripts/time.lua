-- What all scripts share; put before each of them. It answers nothing by itself.

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- A call whose caller has given up takes no effect any more, however long it was on its way. The answer tells the time,
-- so that a caller who is still there and was wrong about the time can try again.
local function late(now, limit)
  if now > tonumber(limit) then
    return redis.error_reply('LATE ' .. string.format('%.0f', now))
  end
end

