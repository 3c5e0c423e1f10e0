-- Make the shard ready for use, or find that it is somebody else's. ARGV[3]: the run id of this server;
-- ARGV[4]: an epoch that was never used; [5] how long after an empty start who is missing may be alive, in ms;
-- [6] the highest life of this shard that the caller has seen.
-- A server that is not the one of the epoch begins another, and so does one whose life is an older one that came back.
-- Never one that can be had twice: two servers that were started from one file would go on from the same place with
-- different histories. Lives are counted, so that what was written in an earlier one is known to be older.
-- Returns {'foreign', key} | {'newer', layout} | {'open', epoch, revision, '1' when it came up empty not long ago, life}.
local FORMAT, LAYOUT = '1', 2
local seen = tonumber(ARGV[6])
local kind = redis.call('TYPE', META)['ok']
if kind ~= 'none' then
    local format = kind == 'hash' and redis.call('HGET', META, 'format')
    if not format or not string.match(format, '^%d+$') then
        return {'foreign', META}
    elseif format ~= FORMAT then
        return {'newer', format}
    end
end
local function begin(revision, life, born)
    redis.call('HSET', META, 'format', FORMAT, 'layout', LAYOUT, 'epoch', ARGV[4], 'run', ARGV[3], 'revision', revision,
        'life', whole(life), 'life_of', ARGV[4], 'born', born, 'swept', whole(now_ms()), 'sweeps', '0')
end
if kind == 'none' then
    local types = {[RECORDS] = 'hash', [LEASES] = 'zset', [ADDRESSES] = 'hash', [NAMES] = 'hash', [SUSPECTS] = 'zset',
        [EVENTS] = 'stream'}
    local lost = false
    for key, wanted in pairs(types) do
        local is = redis.call('TYPE', key)['ok']
        if is ~= 'none' and is ~= wanted then
            return {'foreign', key}
        end
        lost = lost or is ~= 'none'
    end
    if not lost then
        begin('0', seen + 1, whole(now_ms()))
        return {'open', ARGV[4], '0', '1', whole(seen + 1)}
    end
    -- The one key was lost, and the others are there: ours, if what stands in them reads like ours.
    local field = redis.call('HRANDFIELD', RECORDS)
    if not field or not label_of(field) or not record_of(field) then
        for key in pairs(types) do
            if redis.call('EXISTS', key) == 1 then
                return {'foreign', key}
            end
        end
    end
    local last = redis.call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
    local revision = last and string.match(last[1], '^(%d+)-0$') or '0'
    begin(revision, seen + 1, '0')
    return {'open', ARGV[4], revision, '0', whole(seen + 1)}
end
local found = redis.call('HMGET', META, 'run', 'epoch', 'life', 'life_of')
local run, epoch, life = found[1], found[2], tonumber(found[3] or '0')
if run ~= ARGV[3] or life < seen then
    epoch = ARGV[4]
    redis.call('HSET', META, 'run', ARGV[3], 'epoch', epoch)
end
-- The release before begins epochs, too, and counts no lives.
if found[4] ~= epoch then
    life = math.max(life, seen) + 1
    redis.call('HSET', META, 'layout', LAYOUT, 'life', whole(life), 'life_of', epoch)
end
local _, revision = position()
local age = now_ms() - tonumber(redis.call('HGET', META, 'born') or '0')
return {'open', epoch, revision, age >= 0 and age < tonumber(ARGV[5]) and '1' or '0', whole(life)}
