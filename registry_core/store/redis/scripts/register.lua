-- Register or replace an instance and start its lease.
-- ARGV[3] field, [4] service name, [5] host:port, [6] epoch or '', [7] status, [8] JSON, [9] TTL in ms, [10] sequence
-- or '', [11] '1' when it may take the address of another service's instance that may be alive, [12] for how many ms a
-- holder may be silent, given the newcomer's check, [13] the age at which a silent instance is removed, in ms; then
-- fields that may hold its address.
-- Returns {'name', name} | {'fenced', epoch, value or '', ms until its owner may be removed} | {'late', sequence} |
-- {'address', field of the holder, its value, ms until it gives way} |
-- {'ok', epoch, revision, value, created, when its lease began or '0' when it goes on, changed}.
local field, name, address = ARGV[3], ARGV[4], ARGV[5]
local label, now = label_of(field), now_ms()

local known = name_of(label)
if known and known ~= name then
    return {'name', known}
end
local held = record_of(field)
local epoch, sequence = tonumber(ARGV[6]), tonumber(ARGV[10])
local last = held or tomb_of(field, now)
local why = verdict(last, epoch, sequence)
if why == 'again' then
    local at, revision = position()
    return {'ok', at, revision, written(held), '0', '0', '0'}
elseif why then
    local refused = refusal(why, last)
    local score = redis.call('ZSCORE', LEASES, field)
    refused[4] = whole(score and tonumber(score) + tonumber(ARGV[13]) - now or 0)
    return refused
end
local rivals = rivals_of(field, {address = address, json = ARGV[8]}, held, {unpack(ARGV, 14)})
for holder, other in pairs(rivals) do
    local wait = gives_way_in(holder, other, now, {
        ttl_ms = tonumber(ARGV[9]), passing_ms = tonumber(ARGV[12]), moved = held and address,
        may = ARGV[11] == '1' or label_of(holder) == label,
    })
    if wait >= 0 then
        return {'address', holder, written(other), whole(wait)}
    end
end
for holder in pairs(rivals) do
    remove(holder, 'deregistered', now)
end
local record = {
    epoch = epoch or (held and held.epoch) or 0,
    registered_at = held and held.registered_at or now,
    status = ARGV[7], suspect = false, address = address, json = ARGV[8],
    sequence = sequence_after(last, epoch, sequence),
    life = held and held.life or 0, revision = held and held.revision or 0,
}
local changed = not held or content(record) ~= content(held)
if changed then
    stamped(record)
end
put(field, name, record, held)
redis.call('ZADD', LEASES, whole(now), field)
if changed then
    tell_registered(field, record, now)
end
local at, revision = position()
return {'ok', at, revision, written(record), held and '0' or '1', whole(now), changed and '1' or '0'}
