-- Make the shard ready for use, or report that it belongs to another program. ARGV[3]: the run id of this server;
-- [4] an unused epoch; [5] how long after an empty start a missing instance may be alive, in ms; [6] the highest life of
-- this shard that the caller has seen; [7] the replication id of this server: it changes when a master becomes a replica
-- and then master again, and such a process may have lost something in between.
-- A server other than the epoch's own starts a new epoch, and so does one whose life is an older one that came back.
-- Epochs never repeat: two servers started from one file would continue from the same place with different histories.
-- A later life has a higher number, so that writes of an earlier one are known to be older: the time at which it began,
-- or one more than any known life. Counting alone could give two servers the same number.
-- Returns {'foreign', key} | {'newer', layout} | {'open', epoch, revision, '1' when it came up empty not long ago, life}.
local FORMAT, LAYOUT = '1', 2
local seen, now = tonumber(ARGV[6]), now_ms()
local function next_life(known)
    return whole(math.max(now, seen + 1, known + 1))
end
local kind = redis.call('TYPE', META)['ok']
if kind ~= 'none' then
    local format = kind == 'hash' and redis.call('HGET', META, 'format')
    if not format or not string.match(format, '^%d+$') then
        return {'foreign', META}
    elseif format ~= FORMAT then
        return {'newer', format}
    end
end
-- What only signed requests need is tried now: a missing permission shows at the start.
local function try_marks()
    redis.call('SET', P .. ':signed:', '', 'PX', 1)
    redis.call('GET', P .. ':signed:')
end
local function begin(revision, born)
    try_marks()
    local life = next_life(0)
    redis.call('HSET', META, 'format', FORMAT, 'layout', LAYOUT, 'epoch', ARGV[4], 'run', ARGV[3],
        'replication', ARGV[7], 'revision', revision,
        'life', life, 'life_of', ARGV[4], 'born', whole(born), 'swept', whole(now), 'sweeps', '0')
    return {'open', ARGV[4], revision, born > 0 and '1' or '0', life}
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
        return begin('0', now)
    end
    -- Only META was lost, and the other keys are there: they are ours if their contents parse as ours.
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
    return begin(revision, 0)
end
local found = redis.call('HMGET', META, 'run', 'epoch', 'life', 'life_of', 'replication')
local run, epoch, life = found[1], found[2], found[3] or '0'
if run ~= ARGV[3] or tonumber(life) < seen or (found[5] and found[5] ~= ARGV[7]) then
    epoch = ARGV[4]
    redis.call('HSET', META, 'run', ARGV[3], 'epoch', epoch)
end
-- The previous release starts epochs, too, but does not number lives.
if found[4] ~= epoch then
    life = next_life(tonumber(life))
    redis.call('HSET', META, 'layout', LAYOUT, 'life', life, 'life_of', epoch, 'replication', ARGV[7])
end
try_marks()
local _, revision = position()
local age = now - tonumber(redis.call('HGET', META, 'born') or '0')
return {'open', epoch, revision, age >= 0 and age < tonumber(ARGV[5]) and '1' or '0', life}
