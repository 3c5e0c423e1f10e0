-- Change a status. ARGV[3] field, [4] status, [5] epoch or '', [6] sequence or ''.
-- Returns {'missing'} | {'fenced', epoch} | {'late', sequence} | {'ok', epoch, revision, value}.
local field, status, epoch, sequence = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local record = record_of(field)
local last = record or tomb_of(field, now_ms())
local why = verdict(last, epoch, sequence)
if why and why ~= 'again' then
    return refusal(why, last)
elseif not record then
    return {'missing'}
elseif not why then
    local changed = record.status ~= status
    record.status = status
    if not epoch or epoch == record.epoch then  -- a newer owner that has not registered yet has no record that could hold its order
        record.sequence = sequence_after(record, epoch, sequence)
    end
    if changed then
        stamped(record)
    end
    redis.call('HSET', RECORDS, field, written(record))
    if changed then
        tell(record.revision, 't', 'status_changed', 'k', field, 's', status, 'o', told_of(record))
    end
end
local at, revision = position()
return {'ok', at, revision, written(record)}
