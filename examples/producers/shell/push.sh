#!/bin/sh
# Pushes to a user with nothing but redis-cli: push.sh URL UID TEXT ID
set -eu
url=$1 uid=$2 text=$3 id=$4
lanes=$(redis-cli -e -u "$url" HGET gim:meta lanes)
# CRC-32 is in the last eight bytes of what gzip writes, low byte first.
sum=$(printf 'u:%s' "$uid" | gzip -c | tail -c 8 | head -c 4 | od -An -tu4 --endian=little | tr -d ' ')
redis-cli -e -u "$url" XADD "gim:queue:$((sum % lanes))" '*' \
  to_uid "$uid" data "{\"text\":\"$text\"}" id "$id"
