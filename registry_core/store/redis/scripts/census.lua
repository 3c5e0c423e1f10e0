-- Count for a sweep, after everybody was given the time in which nobody swept.
-- ARGV[3] TTL, [4] age at which an instance is due, [5] gap that earns an amnesty, all ms; [6] most due ones named.
-- Returns {now, swept, amnesty, instances, overdue, guard, expiries, sweeps, field of a due one, ...}.
local now = now_ms()
local ttl, due_after = tonumber(ARGV[3]), tonumber(ARGV[4])
local swept = tonumber(redis.call('HGET', META, 'swept') or whole(now))
local gap, amnesty = now - swept, 0
if gap > tonumber(ARGV[5]) then
    amnesty = gap
    -- Never into the future: who renewed within the gap has the full term from now.
    local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
    for at = 1, #leases, 2 do
        redis.call('ZADD', LEASES, whole(math.min(tonumber(leases[at + 1]) + gap, now)), leases[at])
    end
    redis.call('HSET', META, 'swept', whole(now))
end
local due = redis.call('ZRANGEBYSCORE', LEASES, '-inf', whole(now - due_after), 'LIMIT', 0, ARGV[6])
local overdue = redis.call('ZCOUNT', LEASES, '-inf', '(' .. whole(now - ttl))
local seen = {}
for _, field in ipairs(due) do
    seen[field] = true
end
for _, field in ipairs(redis.call('SMEMBERS', SUSPECTS)) do
    if not seen[field] then
        due[#due + 1] = field
        local score = tonumber(redis.call('ZSCORE', LEASES, field) or '0')
        if score >= now - ttl then
            overdue = overdue + 1
        end
    end
end
local found = redis.call('HMGET', META, 'guard', 'expiries', 'sweeps')
local instances = redis.call('ZCARD', LEASES)
if #due == 0 and not found[1] then
    redis.call('HSET', META, 'swept', whole(now))  -- there is nothing to decide: this was the sweep
end
local result = {whole(now), whole(swept), whole(amnesty), whole(instances), whole(overdue),
    found[1] or '', found[2] or '', found[3] or '0'}
for _, field in ipairs(due) do
    result[#result + 1] = field
end
return result
