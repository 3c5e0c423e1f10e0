-- Register or replace an instance and start its lease.
-- ARGV[3] field, [4] service name, [5] host:port, [6] epoch or '', [7] status, [8] JSON, [9] TTL in ms.
-- Returns {'name', name} | {'fenced', epoch} | {'address', field} | {'ok', epoch, revision, value, created, now}.
local field, name, address = ARGV[3], ARGV[4], ARGV[5]
local label, now = label_of(field), now_ms()

local known = redis.call('HGET', NAMES, label)
if known and known ~= name then
    return {'name', known}
end
local held = record_of(field)
local epoch = tonumber(ARGV[6])
if held and epoch and epoch < held.epoch then
    return {'fenced', whole(held.epoch)}
end
local holder = redis.call('HGET', ADDRESSES, address)
if holder and holder ~= field then
    local other = record_of(holder)
    local age = now - tonumber(redis.call('ZSCORE', LEASES, holder) or '0')
    if other and other.status ~= 'critical' and not other.suspect and age <= tonumber(ARGV[9]) then
        return {'address', holder}
    end
    remove(holder, 'deregistered')
end
local record = {
    epoch = epoch or (held and held.epoch) or 0,
    registered = held and held.registered or now,
    status = ARGV[7], suspect = false, address = address, json = ARGV[8],
}
if held and held.address ~= address and redis.call('HGET', ADDRESSES, held.address) == field then
    redis.call('HDEL', ADDRESSES, held.address)
end
local value = written(record)
local changed = not held or value ~= written(held)
redis.call('HSET', ADDRESSES, address, field)
redis.call('HSET', NAMES, label, name)
redis.call('ZADD', ids_of(label), whole(record.registered), field)
redis.call('ZADD', LEASES, whole(now), field)
redis.call('ZREM', SUSPECTS, field)
if changed then
    redis.call('HSET', RECORDS, field, value)
    tell_registered(field, record, now)
end
local at, revision = position()
return {'ok', at, revision, value, held and '0' or '1', whole(now), changed and '1' or '0'}
