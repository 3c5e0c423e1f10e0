-- Bring back an instance that was saved, unless the same or a newer owner is there, and start its lease.
-- ARGV[3] field, [4] service name, [5] host:port, [6] epoch, [7] status, [8] JSON, [9] when it was registered in ms.
-- Returns {'name', name} | {'held', epoch} | {'address', field} | {'ok', epoch, revision}.
local field, name, address, epoch = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local label, now = label_of(field), now_ms()

local known = redis.call('HGET', NAMES, label)
if known and known ~= name then
    return {'name', known}
end
local held = record_of(field)
if held and held.epoch >= epoch then
    return {'held', whole(held.epoch)}
end
-- Whoever holds the address was there after this was saved, however it fares.
local holder = redis.call('HGET', ADDRESSES, address)
if holder and holder ~= field then
    return {'address', holder}
end
local record = {
    epoch = epoch, registered = tonumber(ARGV[9]), status = ARGV[7], suspect = false, address = address, json = ARGV[8],
}
if held and held.address ~= address and redis.call('HGET', ADDRESSES, held.address) == field then
    redis.call('HDEL', ADDRESSES, held.address)
end
redis.call('HSET', ADDRESSES, address, field)
redis.call('HSET', NAMES, label, name)
redis.call('ZADD', ids_of(label), whole(record.registered), field)
redis.call('ZADD', LEASES, whole(now), field)
redis.call('ZREM', SUSPECTS, field)
redis.call('HSET', RECORDS, field, written(record))
tell_registered(field, record, now)
local at, revision = position()
return {'ok', at, revision}
