-- Take an instance out. ARGV[3] field, [4] epoch or '', [5] sequence or ''.
-- Returns {'missing'} | {'fenced', epoch} | {'late', sequence} | {'ok', epoch, revision, value, order of the tombstone};
-- the value is '' when this very removal was carried out before.
local field, epoch, sequence = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local record = record_of(field)
local tomb = not record and tomb_of(field) or nil
local last = record or tomb
local why = verdict(last, epoch, sequence)
if why == 'fenced' then
    return {'fenced', whole(last.epoch)}
elseif why == 'late' or (why == 'again' and record) then
    return {'late', whole(last.sequence)}
elseif not record and why ~= 'again' then
    return {'missing'}
end
local value = ''
if record then
    value = written(record)
    local own = sequence and epoch == record.epoch
    tomb = remove(field, 'deregistered', now_ms(), {
        epoch = math.max(record.epoch, epoch or 0),
        sequence = own and sequence or (epoch and epoch > record.epoch and (sequence or 0)) or record.sequence,
    })
end
local at, revision = position()
return {'ok', at, revision, value, whole(tomb.epoch) .. ' ' .. order_of(tomb)}
