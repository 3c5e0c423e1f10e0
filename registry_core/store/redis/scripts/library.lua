-- What every script of a shard begins with. ARGV[1] is the prefix of the keys, ARGV[2] the length of the stream.
--
-- A record's value is one line of what scripts decide by, and below it the instance as JSON, which no script
-- reads or writes: cjson would turn empty arrays into objects, and numbers into others.
--     <epoch> <registered_ms> <status> <suspect 0|1> <host:port>
-- Times are milliseconds of this server's own clock.
local P = ARGV[1]
local META, RECORDS, LEASES = P .. ':meta', P .. ':records', P .. ':leases'
local ADDRESSES, NAMES, SUSPECTS, EVENTS = P .. ':addresses', P .. ':names', P .. ':suspects', P .. ':events'

local function now_ms()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function whole(number)
    return string.format('%.0f', number)
end

local function label_of(field)
    return string.match(field, '^([^/]*)/')
end

local function ids_of(label)
    return P .. ':ids:' .. label
end

local function parsed(value)
    local epoch, registered, status, suspect, address, json =
        string.match(value, '^(%d+) (%d+) (%a+) ([01]) (%S+)\n(.*)$')
    return {
        epoch = tonumber(epoch), registered = tonumber(registered), status = status,
        suspect = suspect == '1', address = address, json = json,
    }
end

local function written(record)
    return table.concat({
        whole(record.epoch), whole(record.registered), record.status, record.suspect and '1' or '0', record.address,
    }, ' ') .. '\n' .. record.json
end

local function record_of(field)
    local value = redis.call('HGET', RECORDS, field)
    return value and parsed(value) or nil
end

-- Every change of the catalogue takes one revision, and is told under it.
local function tell(...)
    local revision = redis.call('HINCRBY', META, 'revision', 1)
    redis.call('XADD', EVENTS, 'MAXLEN', '~', ARGV[2], whole(revision) .. '-0', ...)
end

local function tell_registered(field, record, heartbeat_ms)
    tell('t', 'registered', 'k', field, 'v', written(record), 'h', whole(heartbeat_ms))
end

local function remove(field, why)
    local record, label = record_of(field), label_of(field)
    if not record then
        return
    end
    redis.call('HDEL', RECORDS, field)
    redis.call('ZREM', LEASES, field)
    redis.call('ZREM', SUSPECTS, field)
    if redis.call('HGET', ADDRESSES, record.address) == field then
        redis.call('HDEL', ADDRESSES, record.address)
    end
    redis.call('ZREM', ids_of(label), field)
    if redis.call('EXISTS', ids_of(label)) == 0 then
        redis.call('HDEL', NAMES, label)
    end
    tell('t', why, 'k', field)
end

-- The epoch and revision behind what a script did, so that its caller knows when it has been told of it.
local function position()
    local found = redis.call('HMGET', META, 'epoch', 'revision')
    return found[1] or '', found[2] or '0'
end
