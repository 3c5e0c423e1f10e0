-- Read leases in the order of their renewals, and change nothing. ARGV[3] the time to start from, in ms; [4] the last
-- field of the previous part, or ''; [5] how many.
-- Returns {now, field, time, field, time, ...}.
local rank
local before = ARGV[4] ~= '' and redis.call('ZSCORE', LEASES, ARGV[4])
if before and tonumber(before) == tonumber(ARGV[3]) then
    rank = redis.call('ZRANK', LEASES, ARGV[4]) + 1
else
    rank = redis.call('ZCOUNT', LEASES, '-inf', '(' .. ARGV[3])
end
local found = redis.call('ZRANGE', LEASES, rank, rank + tonumber(ARGV[5]) - 1, 'WITHSCORES')
table.insert(found, 1, whole(now_ms()))
return found
