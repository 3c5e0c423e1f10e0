-- Read a part of the shard, and change nothing. ARGV[3] cursor ('0' at first), [4] about how many records.
-- Returns {epoch, revision, next cursor ('0' at the end), records, odd field, ...}: four lines for each record, its
-- field, its last heartbeat and the two of its value. They are one string, which clients parse faster than a list.
-- Odd fields are foreign ones; a few of them are returned.
local MOST_ODD = 20
local found = redis.call('HSCAN', RECORDS, ARGV[3], 'COUNT', ARGV[4])
local flat, fields, values, lines, odd = found[2], {}, {}, {}, {}
for at = 1, #flat, 2 do
    local field, value = flat[at], flat[at + 1]
    if label_of(field) and string.match(value, LINE .. '[^\n]*$') then
        fields[#fields + 1] = field
        values[#values + 1] = value
    elseif #odd < MOST_ODD then
        odd[#odd + 1] = field
    end
end
if #fields > 0 then
    local leases = redis.call('ZMSCORE', LEASES, unpack(fields))
    local suspects = redis.call('ZMSCORE', SUSPECTS, unpack(fields))
    for number = 1, #fields do
        lines[#lines + 1] = fields[number]
        lines[#lines + 1] = leases[number] or suspects[number] or '0'
        lines[#lines + 1] = values[number]
    end
end
local epoch, revision = position()
local result = {epoch, revision, found[1], table.concat(lines, '\n')}
for _, field in ipairs(odd) do
    result[#result + 1] = field
end
return result
