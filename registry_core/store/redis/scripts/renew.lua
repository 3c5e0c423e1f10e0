-- Renew many leases. From ARGV[3] on, two for each: its field, or `<label>/` for the instance of that service registered
-- last; and its epoch or ''.
-- Returns {epoch, revision, now, number, outcome, field, number, outcome, field, ...}: one outcome for each lease that
-- was not renewed, and for each whose field the caller does not know. `number` counts from 0.
local AT_ONCE = 500  -- Lua's stack bounds what one call takes
local now = now_ms()
local results, count = {'', '', whole(now)}, (#ARGV - 2) / 2

local function said(number, outcome, field)
    results[#results + 1] = whole(number - 1)
    results[#results + 1] = outcome
    results[#results + 1] = field
end

local cleared = {}
for first = 1, count, AT_ONCE do
    local fields, leases = {}, {}
    for number = first, math.min(first + AT_ONCE - 1, count) do
        local field = ARGV[2 * number + 1]
        if string.byte(field, -1) == 47 then  -- a slash: without an instance id
            field = redis.call('ZREVRANGE', ids_of(string.sub(field, 1, -2)), 0, 0)[1] or ''
        end
        fields[#fields + 1] = field
    end
    local values = redis.call('HMGET', RECORDS, unpack(fields))
    for at, value in ipairs(values) do
        local number, field = first + at - 1, fields[at]
        local epoch, _, _, suspect = string.match(value or '', LINE)
        local own = ARGV[2 * number + 2]
        if not epoch then
            said(number, 'unknown', '')
        elseif own ~= '' and tonumber(own) < tonumber(epoch) then
            said(number, 'fenced', field)
        else
            leases[#leases + 1] = whole(now)
            leases[#leases + 1] = field
            if suspect == '1' and not cleared[field] then
                cleared[field] = true
                local record = parsed(value)
                record.suspect = false
                redis.call('ZREM', SUSPECTS, field)
                redis.call('HSET', RECORDS, field, written(stamped(record)))
                tell_registered(field, record, now)
            end
            if ARGV[2 * number + 1] ~= field then
                said(number, 'renewed', field)
            end
        end
    end
    if #leases > 0 then
        redis.call('ZADD', LEASES, unpack(leases))
    end
end
results[1], results[2] = position()
return results
