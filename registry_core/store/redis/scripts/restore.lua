-- Restore a saved instance, unless the same or a newer owner is registered, and start its lease.
-- ARGV[3] field, [4] service name, [5] host:port, [6] epoch, [7] status, [8] JSON, [9] its registration time in ms; then
-- fields that may hold its address.
-- Returns {'name', name} | {'held', epoch} | {'address', field of the holder, its value} | {'ok', epoch, revision, value}.
local field, name, address, epoch = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local label, now = label_of(field), now_ms()

local known = name_of(label)
if known and known ~= name then
    return {'name', known}
end
local held = record_of(field)
if held and held.epoch >= epoch then
    return {'held', whole(held.epoch)}
end
-- The holder of a socket registered after this was saved, so it stays, healthy or not.
local holder, other = next(rivals_of(field, {address = address, json = ARGV[8]}, nil, {unpack(ARGV, 10)}))
if holder then
    return {'address', holder, written(other)}
end
local record = stamped({
    epoch = epoch, registered_at = tonumber(ARGV[9]), status = ARGV[7], suspect = false, address = address, json = ARGV[8],
    sequence = sequence_after(held or tomb_of(field, now), epoch),
})
put(field, name, record, held)
redis.call('ZADD', LEASES, whole(now), field)
tell_registered(field, record, now)
local at, revision = position()
return {'ok', at, revision, written(record)}
