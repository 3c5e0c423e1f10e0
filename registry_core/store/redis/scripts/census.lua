-- Count for a sweep, after everybody was given the time in which nobody swept, or by which the clock was set.
-- ARGV[3] TTL, [4] age at which an instance is due, [5] gap that earns an amnesty, all ms; [6] most that are named.
-- Returns {now, swept, amnesty, instances, overdue, due, guard, expiries, sweeps, how many newly due ones are named,
-- their fields ..., as many suspects ...}. The due are the newly due and the suspects.
local now = now_ms()
local ttl, due_after, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local swept = tonumber(redis.call('HGET', META, 'swept') or whole(now))
local gap, amnesty = now - swept, 0
if math.abs(gap) > tonumber(ARGV[5]) then
    -- Nobody swept for a while, or this server's clock was set: either way, nobody's age is what it seems. What
    -- was written before the gap moves along, never into the future: who renewed within it has the full term.
    local function moved(at)
        -- Of a clock that was set back, what lies ahead is of before; the rest has been written since.
        if gap < 0 and at <= now then
            return at
        end
        return math.min(at + gap, now)
    end
    -- Leases are given the gap twice: the breakers of other replicas may go on refusing heartbeats for as long again.
    amnesty = math.max(gap, 0)
    local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
    for at = 1, #leases, 2 do
        redis.call('ZADD', LEASES, whole(math.min(moved(tonumber(leases[at + 1])) + amnesty, now)), leases[at])
    end
    local guard = redis.call('HGET', META, 'guard')
    if guard then
        guard = cjson.decode(guard)  -- of numbers and nulls alone, which it keeps as they are
        for name, at in pairs(guard) do
            if type(at) == 'number' then
                guard[name] = moved(at * 1000) / 1000
            end
        end
        redis.call('HSET', META, 'guard', cjson.encode(guard))
        redis.call('HINCRBY', META, 'sweeps', 1)  -- a sweep that was decided on the guard as it was is void
    end
    swept = now
    redis.call('HSET', META, 'swept', whole(now))
end
-- Suspects are kept apart from the leases, so that what is newly due is at hand however many of them there are.
local suspects = redis.call('ZCARD', SUSPECTS)
local due = redis.call('ZCOUNT', LEASES, '-inf', whole(now - due_after)) + suspects
local overdue = redis.call('ZCOUNT', LEASES, '-inf', '(' .. whole(now - ttl)) + suspects
local found = redis.call('HMGET', META, 'guard', 'expiries', 'sweeps')
if due == 0 and not found[1] then
    redis.call('HSET', META, 'swept', whole(now))  -- there is nothing to decide: this was the sweep
end
local newly = redis.call('ZRANGEBYSCORE', LEASES, '-inf', whole(now - due_after), 'LIMIT', 0, most)
local result = {whole(now), whole(swept), whole(amnesty), whole(redis.call('ZCARD', LEASES) + suspects), whole(overdue),
    whole(due), found[1] or '', found[2] or '', found[3] or '0', whole(#newly)}
for _, field in ipairs(newly) do
    result[#result + 1] = field
end
if suspects > 0 then
    for _, field in ipairs(redis.call('ZRANDMEMBER', SUSPECTS, most)) do
        result[#result + 1] = field
    end
end
return result
