-- Count for a sweep, after everybody was given the time in which nobody swept.
-- ARGV[3] TTL, [4] age at which an instance is due, [5] gap that earns an amnesty, all ms; [6] most that are named.
-- Returns {now, swept, amnesty, instances, overdue, due, guard, expiries, sweeps, how many newly due ones are named,
-- their fields ..., as many suspects ...}. The due are the newly due and the suspects.
local now = now_ms()
local ttl, due_after, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local swept = tonumber(redis.call('HGET', META, 'swept') or whole(now))
local gap, amnesty = now - swept, 0
if math.abs(gap) > tonumber(ARGV[5]) then
    -- Nobody swept for a while, or this server's clock was set back: either way, nobody's age is what it seems.
    -- Never into the future: who renewed within the gap has the full term from now.
    amnesty = math.max(gap, 0)
    local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
    for at = 1, #leases, 2 do
        redis.call('ZADD', LEASES, whole(math.min(tonumber(leases[at + 1]) + gap, now)), leases[at])
    end
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
