-- Change a status. ARGV[3] field, [4] status, [5] epoch or '', [6] sequence or ''.
-- Returns {'missing'} | {'fenced', epoch} | {'late', sequence} | {'ok', epoch, revision, value}.
local field, status, epoch, sequence = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local record = record_of(field)
local last = record or tomb_of(field)
local why = verdict(last, epoch, sequence)
if why == 'fenced' then
    return {'fenced', whole(last.epoch)}
elseif why == 'late' or (why == 'again' and not record) then
    return {'late', whole(last.sequence)}
elseif not record then
    return {'missing'}
end
if why ~= 'again' then
    local changed = record.status ~= status
    record.status = status
    if sequence and epoch == record.epoch then
        record.sequence = sequence
    end
    if changed then
        stamped(record)
    end
    redis.call('HSET', RECORDS, field, written(record))
    if changed then
        tell(record.revision, 't', 'status_changed', 'k', field, 's', status,
            'o', whole(record.epoch) .. ' ' .. order_of(record))
    end
end
local at, revision = position()
return {'ok', at, revision, written(record)}
