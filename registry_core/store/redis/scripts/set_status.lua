-- Change a status. ARGV[3] field, [4] status, [5] epoch or ''.
-- Returns {'missing'} | {'fenced', epoch} | {'ok', epoch, revision, value}.
local field, status, epoch = ARGV[3], ARGV[4], tonumber(ARGV[5])
local record = record_of(field)
if not record then
    return {'missing'}
end
if epoch and epoch < record.epoch then
    return {'fenced', whole(record.epoch)}
end
if record.status ~= status then
    record.status = status
    redis.call('HSET', RECORDS, field, written(record))
    tell('t', 'status_changed', 'k', field, 's', status)
end
local at, revision = position()
return {'ok', at, revision, written(record)}
