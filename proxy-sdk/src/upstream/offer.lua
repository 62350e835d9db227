-- Puts a client's command on the stream, unless as many wait as may.
--
-- KEYS  1 `gim:upstream`
-- ARGV  1 how many the stream may hold, then names and values
-- Answer: the entry id
-- Errors: COMMANDS: the bound is reached. OOM: out of memory. Nothing was written.
--
-- Keeps: what no group has acknowledged is never trimmed; at the bound the newcomer is refused (limits: upstream).

if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
  return redis.error_reply('COMMANDS nobody reads them fast enough')
end
return redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
