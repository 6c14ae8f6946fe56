/**
 * What every gateway and broker does to the shared list, each in one atomic step. The list has an epoch (random, of its first writer), and
 * numbers its changes, so that who has seen change N asks for what came after. Keys, all in one slot of a cluster: epoch, the number of the
 * last change, a sorted set of thumbprints by expiry, another by the change in which they came.
 */
export const SUFFIXES = ['epoch', 'last', 'expiry', 'order'] as const;

/** Entries of one answer of READ, and of one WRITE. */
export const PAGE = 1000;

/**
 * ARGV: the epoch and the last change that the caller knows, a candidate epoch. Answers: epoch, last change, then thumbprint, expiry and
 * change of up to 1000 entries that came after; from the beginning when the caller knows another epoch. The epoch is written in any case: a
 * Redis that refuses writes is no place to learn from what was ended.
 */
export const READ = `local epoch = redis.call('GET', KEYS[1])
local since = ARGV[2]
if not epoch then epoch = ARGV[3] end
if epoch ~= ARGV[1] then since = '0' end
redis.call('SET', KEYS[1], epoch)
local answer = { epoch, redis.call('GET', KEYS[2]) or '0' }
local changes = redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, ${PAGE})
for i = 1, #changes, 2 do
  answer[#answer + 1] = changes[i]
  answer[#answer + 1] = redis.call('ZSCORE', KEYS[3], changes[i]) or '0'
  answer[#answer + 1] = changes[i + 1]
end
return answer`;

/** ARGV: a candidate epoch, the time, the limit, the channel, then thumbprints and expiries in turn. Answers 1, or 0 when the list is full. */
export const WRITE = `if not redis.call('GET', KEYS[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[2], 'LIMIT', 0, 2000)
for i = 1, #old do
  redis.call('ZREM', KEYS[3], old[i])
  redis.call('ZREM', KEYS[4], old[i])
end
local changed = false
for i = 5, #ARGV, 2 do
  local known = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if not known and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[3]) then return 0 end
  if not known or tonumber(known) < tonumber(ARGV[i + 1]) then
    redis.call('ZADD', KEYS[3], ARGV[i + 1], ARGV[i])
    redis.call('ZADD', KEYS[4], redis.call('INCR', KEYS[2]), ARGV[i])
    changed = true
  end
end
if changed then redis.call('PUBLISH', ARGV[4], redis.call('GET', KEYS[2])) end
return 1`;
