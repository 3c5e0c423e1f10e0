-- Remove an instance. ARGV[3] field, [4] epoch or '', [5] sequence or ''.
-- Returns {'missing'} | {'fenced', epoch} | {'late', sequence} | {'ok', epoch, revision, value, tombstone}.
local field, epoch, sequence = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local now, record = now_ms(), record_of(field)
local last = record or tomb_of(field, now)
local why = verdict(last, epoch, sequence, true)
if why and why ~= 'again' then
    return refusal(why, last)
end
local tomb = last
if not why then
    tomb = {epoch = epoch or (last and last.epoch) or 0, sequence = sequence_after(last, epoch, sequence)}
    if record then
        tomb = remove(field, 'deregistered', now, tomb)
    elseif sequence then
        bury(field, stamped(tomb), now)  -- earlier writes of its owner may still be on their way
        tell(tomb.revision, 't', 'deregistered', 'k', field, 'o', told_of(tomb))
    end
end
if not tomb.value or tomb.value == '' then
    return {'missing'}
end
local at, revision = position()
return {'ok', at, revision, tomb.value, told_of(tomb)}
