-- Take an instance out. ARGV[3] field, [4] epoch or ''.
-- Returns {'missing'} | {'fenced', epoch} | {'ok', epoch, revision, value}.
local field, epoch = ARGV[3], tonumber(ARGV[4])
local record = record_of(field)
if not record then
    return {'missing'}
end
if epoch and epoch < record.epoch then
    return {'fenced', whole(record.epoch)}
end
remove(field, 'deregistered')
local at, revision = position()
return {'ok', at, revision, written(record)}
