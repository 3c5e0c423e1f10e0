-- Check that the keys of the shard are consistent, repair the leases, and change nothing else.
-- ARGV[3] the most leases to check.
-- A lease without a record is removed; a record without a lease would stay for ever, and gets one.
-- Returns {revision, number of records, number of leases removed, number of leases added}.
local now, removed, given = now_ms(), 0, 0
local records = redis.call('HLEN', RECORDS)
local leases = redis.call('ZCARD', LEASES) + redis.call('ZCARD', SUSPECTS)
if records ~= leases then
    local most = tonumber(ARGV[3])
    for _, key in ipairs({LEASES, SUSPECTS}) do
        for _, field in ipairs(redis.call('ZRANGE', key, 0, most - 1)) do
            if redis.call('HEXISTS', RECORDS, field) == 0 then
                redis.call('ZREM', key, field)
                removed = removed + 1
            end
        end
    end
    for _, field in ipairs(redis.call('HRANDFIELD', RECORDS, most)) do
        if not redis.call('ZSCORE', LEASES, field) and not redis.call('ZSCORE', SUSPECTS, field) then
            redis.call('ZADD', LEASES, whole(now), field)
            given = given + 1
        end
    end
end
return {redis.call('HGET', META, 'revision') or '0', whole(records), whole(removed), whole(given)}
