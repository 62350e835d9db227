// Pushes to a user: push.mjs URL UID TEXT ID. Needs node-redis (npm install redis) and Node.js 20.15 or later.
import { crc32 } from "node:zlib";
import { createClient } from "redis";

const [url, uid, text, id] = process.argv.slice(2);
const store = await createClient({ url }).connect();
const lanes = Number(await store.hGet("gim:meta", "lanes"));
const lane = crc32(`u:${uid}`) % lanes;
console.log(await store.xAdd(`gim:queue:${lane}`, "*", { to_uid: uid, data: JSON.stringify({ text }), id }));
await store.close();
