-- Register or replace an instance and start its lease.
-- ARGV[3] field, [4] service name, [5] host:port, [6] epoch or '', [7] status, [8] JSON, [9] TTL in ms, [10] sequence
-- or '', [11] '1' when it may take the address of another service's critical instance.
-- Returns {'name', name} | {'fenced', epoch} | {'late', sequence} | {'address', field} |
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
    return refusal(why, last)
end
local holder, other = holder_of(socket_of({address = address, json = ARGV[8]}))
if holder and holder ~= field then
    if not yields(holder, other, now, tonumber(ARGV[9]), ARGV[11] == '1' or label_of(holder) == label) then
        return {'address', holder}
    end
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
