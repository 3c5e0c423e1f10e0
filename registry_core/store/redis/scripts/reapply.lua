-- Put back writes that were acknowledged in an earlier life of the shard and are missing in this one.
-- From ARGV[3] on, four for each: field, service name, value, ''; or field, '', '', order, for a removal.
-- A record with a later stamp stays. What is put back keeps its stamp, so the order in which several replicas put back
-- what each of them knows does not matter.
-- Returns {number put back, number of those that are removals}.
local now, done, gone = now_ms(), 0, 0
for at = 3, #ARGV, 4 do
    local field, name, value, order = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local held, tomb = record_of(field), tomb_of(field, now)
    if order ~= '' then
        local removal = tombstone(order)
        if held and came_before(held, removal) then
            remove(field, 'deregistered', now, removal)
            done, gone = done + 1, gone + 1
        elseif not held and (not tomb or came_before(tomb, removal)) then
            bury(field, removal, now)
        end
    else
        local record = parsed(value)
        local known = name_of(label_of(field))
        local holder, other = holder_of(sockets_of(record)[1])
        local later = (held and not came_before(held, record)) or (tomb and not came_before(tomb, record))
        local taken = holder and holder ~= field and not came_before(other, record)
        if not later and not taken and (not known or known == name) then
            if holder and holder ~= field then
                remove(holder, 'deregistered', now)
            end
            put(field, name, record, held)
            redis.call('ZADD', LEASES, whole(now), field)
            tell_registered(field, record, now, redis.call('HINCRBY', META, 'revision', 1))
            done = done + 1
        end
    end
end
return {whole(done), whole(gone)}
