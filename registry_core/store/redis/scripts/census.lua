-- Count for a sweep, after everybody was given the time in which nobody swept, or by which the clock was set.
-- ARGV[3] TTL, [4] age at which an instance is due, [5] gap that earns an amnesty, all ms; [6] most that are named;
-- [7] leases that are moved at a time.
-- Returns {'more'} when leases are still to be moved before anything can be counted: ask again. Else
-- {now, swept, amnesty, instances, overdue, due, guard, expiries, sweeps, how many newly due ones are named,
-- their fields ..., as many suspects ...}. The due are the newly due and the suspects.
local now = now_ms()
local ttl, due_after, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local swept = tonumber(redis.call('HGET', META, 'swept') or whole(now))
if math.abs(now - swept) > tonumber(ARGV[5]) and redis.call('HEXISTS', META, 'amnesty') == 0 then
    -- Nobody swept for a while, or this server's clock was set: either way, nobody's age is what it seems. What
    -- was written before the gap moves along, never into the future: who renewed within it has the full term.
    local gap = now - swept
    local guard = redis.call('HGET', META, 'guard')
    if guard then
        guard = cjson.decode(guard)  -- of numbers and nulls alone, which it keeps as they are
        for name, at in pairs(guard) do
            -- Of a clock that was set back, what lies ahead is of before; the rest has been written since.
            if type(at) == 'number' and (gap > 0 or at * 1000 > now) then
                guard[name] = math.min(at * 1000 + gap, now) / 1000
            end
        end
        redis.call('HSET', META, 'guard', cjson.encode(guard))
        redis.call('HINCRBY', META, 'sweeps', 1)  -- a sweep that was decided on the guard as it was is void
    end
    redis.call('HSET', META, 'amnesty', table.concat({whole(gap), whole(now), '(' .. whole(now)}, ' '))
end
local amnesty, given = 0, redis.call('HGET', META, 'amnesty')
if given then
    -- A part of the leases at a time, in such an order that the score itself tells who had his part: the youngest
    -- first, who then stands above the mark; or, when the clock was set back, those ahead, who then are ahead no more.
    local gap, at, mark = string.match(given, '^(%S+) (%S+) (%S+)$')
    gap, at = tonumber(gap), tonumber(at)
    local leases
    if gap > 0 then
        leases = redis.call('ZREVRANGEBYSCORE', LEASES, mark, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[7])
    else
        leases = redis.call('ZRANGEBYSCORE', LEASES, '(' .. whole(now), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[7])
    end
    -- Leases are given the gap twice: the breakers of other replicas may go on refusing heartbeats for as long again.
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
    -- Not now: should nobody have gone on with it for a while, that is a gap, too.
    swept = at
    redis.call('HSET', META, 'swept', whole(at))
    amnesty = math.max(gap, 0)
end
-- Suspects are kept apart from the leases, so that what is newly due is at hand however many of them there are.
local suspects = redis.call('ZCARD', SUSPECTS)
local due = redis.call('ZCOUNT', LEASES, '-inf', whole(now - due_after)) + suspects
local overdue = redis.call('ZCOUNT', LEASES, '-inf', '(' .. whole(now - ttl)) + suspects
local found = redis.call('HMGET', META, 'guard', 'expiries', 'sweeps')
if due == 0 and not found[1] then
    redis.call('HSET', META, 'swept', whole(now))  -- there is nothing to decide: this was the sweep
end
local newly = {}
for _, field in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', whole(now - due_after), 'LIMIT', 0, most)) do
    if label_of(field) and record_of(field) then
        newly[#newly + 1] = field
    else
        -- A lease of nobody, or of what nobody can read, goes at once: kept, it would be due for ever.
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
