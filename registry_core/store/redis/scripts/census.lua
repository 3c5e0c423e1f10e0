-- Count for a sweep, after extending every lease by the time in which no sweep ran, or by which the clock was set.
-- ARGV[3] TTL, [4] age at which an instance is due, [5] gap that earns an amnesty, all ms; [6] most fields returned;
-- [7] leases moved at a time.
-- Returns {'more'} when leases must still be moved before anything can be counted: call again. Else
-- {now, swept, amnesty, instances, overdue, due, guard, expiries, sweeps, number of newly due fields returned,
-- those fields ..., the suspects' fields ...}. The due are the newly due and the suspects.
local now = now_ms()
local ttl, due_after, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local swept = tonumber(redis.call('HGET', META, 'swept') or whole(now))
if math.abs(now - swept) > tonumber(ARGV[5]) and redis.call('HEXISTS', META, 'amnesty') == 0 then
    -- No sweep ran for a while, or this server's clock was set: either way, no lease's age is what it seems. What
    -- was written before the gap moves along, never into the future: a lease renewed within it has the full TTL.
    local gap = now - swept
    local guard = redis.call('HGET', META, 'guard')
    if guard then
        guard = cjson.decode(guard)  -- only numbers and nulls, which cjson preserves
        for name, at in pairs(guard) do
            -- With a clock that was set back, times ahead are from before that; the rest was written since.
            if type(at) == 'number' and (gap > 0 or at * 1000 > now) then
                guard[name] = math.min(at * 1000 + gap, now) / 1000
            end
        end
        redis.call('HSET', META, 'guard', cjson.encode(guard))
        redis.call('HINCRBY', META, 'sweeps', 1)  -- voids a sweep decided on the previous guard
    end
    redis.call('HSET', META, 'amnesty', table.concat({whole(gap), whole(now), '(' .. whole(now)}, ' '))
end
local amnesty, given = 0, redis.call('HGET', META, 'amnesty')
if given then
    -- The leases are moved in parts, in an order in which the score itself tells which were moved: the youngest
    -- first, which then lie above the mark; or, when the clock was set back, those ahead, which then no longer are.
    local gap, at, mark = string.match(given, '^(%S+) (%S+) (%S+)$')
    gap, at = tonumber(gap), tonumber(at)
    local leases
    if gap > 0 then
        leases = redis.call('ZREVRANGEBYSCORE', LEASES, mark, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[7])
    else
        leases = redis.call('ZRANGEBYSCORE', LEASES, '(' .. whole(now), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[7])
    end
    -- Leases get the gap twice: the breakers of other replicas may keep refusing heartbeats for as long again.
    local given_ms = gap > 0 and 2 * gap or gap
    for entry = 1, #leases, 2 do
        local score = tonumber(leases[entry + 1])
        mark = whole(score)
        redis.call('ZADD', LEASES, whole(math.min(score + given_ms, at)), leases[entry])
    end
    if #leases == 2 * tonumber(ARGV[7]) then
        redis.call('HSET', META, 'amnesty', table.concat({whole(gap), whole(at), mark}, ' '))
        return {'more'}
    end
    redis.call('HDEL', META, 'amnesty')
    -- Not `now`: if this was not continued for a while, that is a gap, too.
    swept = at
    redis.call('HSET', META, 'swept', whole(at))
    amnesty = math.max(gap, 0)
end
-- Suspects are kept apart from the leases, so that the newly due are found quickly however many suspects there are.
local suspects = redis.call('ZCARD', SUSPECTS)
local due = redis.call('ZCOUNT', LEASES, '-inf', whole(now - due_after)) + suspects
local overdue = redis.call('ZCOUNT', LEASES, '-inf', '(' .. whole(now - ttl)) + suspects
local found = redis.call('HMGET', META, 'guard', 'expiries', 'sweeps')
if due == 0 and not found[1] then
    redis.call('HSET', META, 'swept', whole(now))  -- nothing to decide: this was the sweep
end
local newly = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', whole(now - due_after), 'LIMIT', 0, most)) do
    if label_of(field) and record_of(field) then
        newly[#newly + 1] = field
    else
        -- A lease without a readable record is removed at once: it would be due for ever.
        remove(field, 'expired', now)
        due = due - 1
    end
end
local result = {whole(now), whole(swept), whole(amnesty), whole(redis.call('ZCARD', LEASES) + suspects), whole(overdue),
    whole(due), found[1] or '', found[2] or '', found[3] or '0', whole(#newly)}
for _, field in ipairs(newly) do
    result[#result + 1] = field
end
if suspects > 0 then
    for _, field in ipairs(redis.call('ZRANDMEMBER', SUSPECTS, most)) do
        if label_of(field) then
            result[#result + 1] = field
        end
    end
end
return result
