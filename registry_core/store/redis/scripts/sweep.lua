-- Carry out the decision made on a census, unless another replica has swept since.
-- ARGV[3] the count of sweeps at the census, [4] age at which an instance is due in ms, [5] guard or '',
-- [6] expiries or '', [7] number of expiring fields; then the fields that expire, then those that turn suspect.
-- Returns {'stale'} or {'ok', epoch, revision, number expired, number turned suspect, their fields ...}.
if redis.call('HGET', META, 'sweeps') ~= ARGV[3] then
    return {'stale'}
end
local now, due_after, expiring = now_ms(), tonumber(ARGV[4]), tonumber(ARGV[7])
local expired, suspected = {}, {}

local function still_due(field)
    local score = redis.call('ZSCORE', LEASES, field)
    return score and now - tonumber(score) >= due_after or redis.call('ZSCORE', SUSPECTS, field)
end

for at = 8, #ARGV do
    local field = ARGV[at]
    if still_due(field) then
        local record = record_of(field)
        if at < 8 + expiring or not record then
            if remove(field, 'expired', now) then
                expired[#expired + 1] = field
            end
        elseif not redis.call('ZSCORE', SUSPECTS, field) then
            local heartbeat = redis.call('ZSCORE', LEASES, field)
            record.suspect = true
            redis.call('ZREM', LEASES, field)
            redis.call('ZADD', SUSPECTS, heartbeat, field)
            redis.call('HSET', RECORDS, field, written(stamped(record)))
            tell_registered(field, record, tonumber(heartbeat))
            suspected[#suspected + 1] = field
        end
    end
end
redis.call('HSET', META, 'swept', whole(now))
redis.call('HINCRBY', META, 'sweeps', 1)
for name, value in pairs({guard = ARGV[5], expiries = ARGV[6]}) do
    if value == '' then
        redis.call('HDEL', META, name)
    else
        redis.call('HSET', META, name, value)
    end
end
local epoch, revision = position()
local result = {'ok', epoch, revision, whole(#expired), whole(#suspected)}
for _, fields in ipairs({expired, suspected}) do
    for _, field in ipairs(fields) do
        result[#result + 1] = field
    end
end
return result
