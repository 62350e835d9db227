-- Appends steps to a journey, as far as there is room, and prolongs its life.
-- KEYS: the journey. ARGV: most steps, milliseconds to live, then per step: number of words, words.
-- Answers how many were written.
local room = tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1])
local written, at = 0, 3
while at <= #ARGV and written < room do
  local words = tonumber(ARGV[at])
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, at + 1, at + words))
  at = at + words + 1
  written = written + 1
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return written
