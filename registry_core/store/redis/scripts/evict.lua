-- Remove the holder of a socket in this shard, when it must give way to a newcomer in another shard.
-- ARGV[3] field, [4] for how many ms it may be silent, [5] the same, given the newcomer's check, [6] '1' when one that
-- may be alive must, [7] the newcomer's host:port when it moved there, or ''; then the wanted sockets.
-- Returns {'living', field, value, ms until it gives way} |
-- {'ok', epoch, revision, value or '' when it is already gone, tombstone}.
local field, now = ARGV[3], now_ms()
local record = record_of(field)
local value, order, there = '', '', false
for at = 8, #ARGV do
    there = there or (record and holds(record, ARGV[at]))
end
if there then
    local wait = gives_way_in(field, record, now, {
        ttl_ms = tonumber(ARGV[4]), passing_ms = tonumber(ARGV[5]), may = ARGV[6] == '1',
        moved = ARGV[7] ~= '' and ARGV[7] or nil,
    })
    if wait >= 0 then
        return {'living', field, written(record), whole(wait)}
    end
    local tomb = remove(field, 'deregistered', now)
    value, order = tomb.value, told_of(tomb)
end
local at, revision = position()
return {'ok', at, revision, value, order}
