#!/bin/sh
# Measures what Redis needs for each kind of thing that GIM keeps in it: `used_memory` before and after 100,000 of each.
# Starts a redis-server of its own on a free port and ends it. Needs redis-server and redis-cli, nothing else.
set -eu

PORT=${PORT:-6399}
COUNT=100000
DIR=$(mktemp -d)
redis-server --port "$PORT" --bind 127.0.0.1 --save '' --appendonly no --dir "$DIR" --daemonize yes \
  --pidfile "$DIR/pid" --logfile "$DIR/log" >/dev/null
trap 'kill "$(cat "$DIR/pid")" 2>/dev/null || true; rm -rf "$DIR"' EXIT
cli() { redis-cli -p "$PORT" "$@"; }
until [ "$(cli PING 2>/dev/null)" = PONG ]; do sleep 0.1; done

# Server, version and allocator decide over the figures.
cli INFO server | tr -d '\r' | grep -E '^(redis_version|arch_bits)'
cli INFO memory | tr -d '\r' | grep -E '^mem_allocator'
echo "payload: 256 B of JSON, an entry every 7 ms; ids of users and groups: 10 B; $COUNT of each"

used() { cli INFO memory | tr -d '\r' | sed -n 's/^used_memory://p'; }

# measure NAME LUA: runs LUA for i = 1 to COUNT and prints bytes per one.
measure() {
  before=$(used)
  from=1
  while [ "$from" -le "$COUNT" ]; do
    cli EVAL "$COMMON for i = tonumber(ARGV[1]), tonumber(ARGV[1]) + 999 do $2 end" 0 "$from" >/dev/null
    from=$((from + 1000))
  done
  after=$(used)
  printf '%-44s %5d B\n' "$1" $(((after - before) / COUNT))
}

COMMON='
local data = "{\"text\":\"" .. string.rep("x", 245) .. "\"}"
local function uid(i) return string.format("u%09d", i) end
local function id(i) return string.format("01JD0000000000000%09d", i) end
local function spread(i) return string.format("%.0f-0", 1700000000000 + i * 7) end
local function bucket(i) return "{gim:u:" .. (i % 1024) .. "}" end
'

measure 'entry on a lane' \
  "redis.call('XADD', 'gim:queue:0', spread(i), 'to_uid', uid(i), 'data', data)"
cli XGROUP CREATE gim:queue:0 gim 0 >/dev/null
measure 'pending entry, in addition' \
  "redis.call('XREADGROUP', 'GROUP', 'gim', 'lane', 'COUNT', 1, 'STREAMS', 'gim:queue:0', '>')"
measure 'scheduled entry or long retry' \
  "local member = string.format('%016x-%016x', i, 0)
   redis.call('ZADD', '{gim:queue:0}:later', 1700000000000 + i, member)
   redis.call('HSET', '{gim:queue:0}:later:body', member,
     struct.pack('>I4I4c0I4c0I4c0I4c0I4c0', 0, 0, '', 6, 'to_uid', 10, uid(i), 4, 'data', #data, data))"
measure 'idempotency mark' \
  "redis.call('SET', '{gim:queue:0}:id:' .. id(i), '1700000000000-0', 'PX', 600000000)"
measure 'dead letter' \
  "redis.call('XADD', '{gim:queue:0}:dead', spread(i), 'to_uid', uid(i), 'data', data, 'gim_reason', 'attempts',
     'gim_attempts', '10', 'gim_error', 'node unreachable', 'gim_entry', '1700000000000-0',
     'gim_at_ms', '1700000000000', 'gim_failed_targets', '[\"' .. uid(i) .. '\"]')"
measure 'user online' \
  "redis.call('HSET', bucket(i), uid(i), '1 1700000000000000 ' .. id(i) .. ' ' .. id(0) .. ' host-8091')
   redis.call('SADD', bucket(i) .. ':at:' .. id(0), uid(i))"
measure 'the first group of a user, in addition' \
  "redis.call('HSET', bucket(i) .. ':g:' .. uid(i), 'g000000001', 'temporary', ' session', id(i))"
measure 'each further group of a user, in addition' \
  "redis.call('HSET', bucket(i) .. ':g:' .. uid(i), 'g000000002', 'temporary')"
measure 'group with members on one node' \
  "redis.call('SADD', 'gim:g:' .. uid(i), id(0))"
measure 'each further node with members, in addition' \
  "redis.call('SADD', 'gim:g:' .. uid(i), id(1))"
measure 'command on the upstream' \
  "redis.call('XADD', 'gim:upstream', spread(i), 'id', id(i), 'uid', uid(i), 'session', id(i), 'seq', tostring(i),
     'cmd', 'echo.up', 'data', data, 'node', 'host-8091', 'at_ms', '1700000000000')"
measure 'mailbox without messages' \
  "redis.call('HSET', bucket(i) .. ':m:' .. uid(i) .. ':state', 'epoch', '1700000000000000')
   redis.call('PEXPIRE', bucket(i) .. ':m:' .. uid(i) .. ':state', 691200000)"
measure 'the first message in a mailbox, in addition' \
  "local mailbox = bucket(i) .. ':m:' .. uid(i)
   redis.call('XADD', mailbox, '1-0', 'id', id(i), 'kind', '3', 'at', '1700000000000', 'until', '0', 'flags', '0',
     'payload', data)
   redis.call('HSET', mailbox .. ':ids', id(i), '1 0 ' .. spread(i))
   redis.call('HSET', mailbox .. ':state', 'last', '1', 'trimmed', '0', 'bytes', '256', 'look', '0')
   redis.call('PEXPIRE', mailbox, 691200000)
   redis.call('PEXPIRE', mailbox .. ':ids', 691200000)"
measure 'each further message in a mailbox' \
  "local mailbox = '{gim:u:1}:m:' .. uid(i % 1000)
   redis.call('XADD', mailbox, string.format('%.0f-0', i), 'id', id(i), 'kind', '3', 'at', '1700000000000', 'until', '0',
     'flags', '0', 'payload', data)
   redis.call('HSET', mailbox .. ':ids', id(i), i .. ' 0 ' .. spread(i))"
measure 'last value of a user' \
  "redis.call('HSET', bucket(i) .. ':v:' .. uid(i), 'key', '0 0 ' .. id(i) .. '\\n' .. data, '', spread(i) .. ' key')
   redis.call('PEXPIRE', bucket(i) .. ':v:' .. uid(i), 691200000)"
