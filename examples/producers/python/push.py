"""Pushes to a user: push.py URL UID TEXT ID. Needs redis-py (pip install redis)."""
import json
import sys
import zlib

import redis

url, uid, text, message_id = sys.argv[1:]
store = redis.Redis.from_url(url)
lanes = int(store.hget("gim:meta", "lanes"))
lane = zlib.crc32(f"u:{uid}".encode()) % lanes
fields = {"to_uid": uid, "data": json.dumps({"text": text}), "id": message_id}
print(store.xadd(f"gim:queue:{lane}", fields).decode())
