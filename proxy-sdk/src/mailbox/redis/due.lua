-- Names users of a bucket in whose mailboxes something may be overdue that receipts are wanted of.
--
-- KEYS  1 who is to be looked at, and when
-- ARGV  1 limit (us), of no matter: it changes nothing  2 most
-- Answer  uids

return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', number(now_us() / 1000), 'LIMIT', 0, ARGV[2])
