-- Renew many leases. From ARGV[3] on, three for each: label, instance id or '', epoch or ''.
-- Returns {epoch, revision, now, outcome, field, outcome, field, ...}.
local now = now_ms()
local results = {'', '', whole(now)}
for at = 3, #ARGV, 3 do
    local label, id, epoch = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    -- Without an instance id, the last registered instance is meant.
    local field = id ~= '' and label .. '/' .. id or redis.call('ZREVRANGE', ids_of(label), 0, 0)[1]
    local record = field and record_of(field)
    if not record then
        results[#results + 1] = 'unknown'
        results[#results + 1] = ''
    elseif epoch and epoch < record.epoch then
        results[#results + 1] = 'fenced'
        results[#results + 1] = field
    else
        redis.call('ZADD', LEASES, whole(now), field)
        if record.suspect then
            record.suspect = false
            redis.call('ZREM', SUSPECTS, field)
            redis.call('HSET', RECORDS, field, written(stamped(record)))
            tell_registered(field, record, now)
        end
        results[#results + 1] = 'renewed'
        results[#results + 1] = field
    end
end
results[1], results[2] = position()
return results
