-- Puts dead letters back: each moves to `later`, due now, under its origin id, with no attempt counted, for the targets
-- that failed.
--
-- KEYS  1 the dead letters, 2 `later`, 3 `later:body`
-- ARGV  1 how many `later` may hold; then either 'range', the first and the last id and how many at most, or 'ids' and ids
-- Answer: how many were moved, the id of the last letter looked at or '', 1 if the bound was reached (else 0)
-- Errors: OOM: out of memory, nothing was written
--
-- A letter that does not name its origin entry, or whose entry waits in `later` already, stays where it is.
-- Keeps: redrive goes to the failed targets alone, under the same id (semantics 1).

local OWN = {gim_reason = 1, gim_attempts = 1, gim_error = 1, gim_entry = 1, gim_at_ms = 1, gim_failed_targets = 1, gim_rest = 1}

local function packed(text) return struct.pack('>I4c0', #text, text) end

local function is_given(value) return value and value ~= '' and value ~= '[]' and value ~= cjson.null end

-- Whether the entry names users, as fields of its own or within `msg`.
local function names_users(letter)
  if letter['msg'] then
    local read, inner = pcall(cjson.decode, letter['msg'])
    if not read or type(inner) ~= 'table' then return false end
    return is_given(inner['to_uid']) or is_given(inner['to_uids'])
  end
  return is_given(letter['to_uid']) or is_given(letter['to_uids'])
end

local function rest_of(letter)
  if letter['gim_rest'] then return letter['gim_rest'] end
  local failed = letter['gim_failed_targets']
  if is_given(failed) and string.match(failed, '^%[.*%]$') and names_users(letter) then
    return '{"users":' .. failed .. '}'
  end
  return ''
end

local function member_of(letter)
  local ms, seq = string.match(letter['gim_entry'] or '', '^(%d+)%-(%d+)$')
  return ms and string.format('%016x-%016x', tonumber(ms), tonumber(seq))
end

local function move(id, flat, due)
  local letter, body = {}, {}
  for at = 1, #flat, 2 do
    letter[flat[at]] = flat[at + 1]
    if not OWN[flat[at]] then
      body[#body + 1] = packed(flat[at])
      body[#body + 1] = packed(flat[at + 1])
    end
  end
  local member = member_of(letter)
  if not member or redis.call('ZSCORE', KEYS[2], member) then return 0 end
  local head = struct.pack('>I4', 0) .. packed(rest_of(letter))
  redis.call('HSET', KEYS[3], member, head .. table.concat(body))
  redis.call('ZADD', KEYS[2], due, member)
  redis.call('XDEL', KEYS[1], id)
  return 1
end

local time = redis.call('TIME')
local due = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - 1e15)
local room = tonumber(ARGV[1]) - redis.call('ZCARD', KEYS[2])

local letters = {}
if ARGV[2] == 'range' then
  letters = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
else
  for at = 3, #ARGV do
    letters[#letters + 1] = redis.call('XRANGE', KEYS[1], ARGV[at], ARGV[at])[1]
  end
end

local moved, last = 0, ''
for _, letter in ipairs(letters) do
  if moved >= room then return {moved, last, 1} end
  moved = moved + move(letter[1], letter[2], due)
  last = letter[1]
end
return {moved, last, 0}
