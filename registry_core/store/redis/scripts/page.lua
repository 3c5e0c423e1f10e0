-- Read a part of the shard, and change nothing. ARGV[3] where to go on ('0' at first), [4] about how many records.
-- Returns {epoch, revision, where to go on ('0' at the end), records}: for each record three lines, which are its
-- last heartbeat and the two of its value. One string, since its reader takes that faster than a list.
local found = redis.call('HSCAN', RECORDS, ARGV[3], 'COUNT', ARGV[4])
local flat, fields, lines = found[2], {}, {}
for at = 1, #flat, 2 do
    fields[#fields + 1] = flat[at]
end
if #fields > 0 then
    local leases = redis.call('ZMSCORE', LEASES, unpack(fields))
    local suspects = redis.call('ZMSCORE', SUSPECTS, unpack(fields))
    for number = 1, #fields do
        lines[#lines + 1] = leases[number] or suspects[number] or '0'
        lines[#lines + 1] = flat[2 * number]
    end
end
local epoch, revision = position()
return {epoch, revision, found[1], table.concat(lines, '\n')}
