-- Make the shard ready for use, or find that it is somebody else's. ARGV[3]: the run id of this server;
-- ARGV[4]: an epoch that was never used; [5] how long after an empty start who is missing may be alive, in ms.
-- A server that is not the one of the epoch begins another. Never one that can be had twice: two servers that
-- were started from one file would go on from the same place with different histories.
-- Returns {'foreign', key} or {'open', epoch, revision, '1' when it came up empty not long ago}.
local FORMAT = '1'
local kind = redis.call('TYPE', META)['ok']
if kind ~= 'none' and (kind ~= 'hash' or redis.call('HGET', META, 'format') ~= FORMAT) then
    return {'foreign', META}
end
if kind == 'none' then
    for _, key in ipairs({RECORDS, LEASES, ADDRESSES, NAMES, SUSPECTS, EVENTS}) do
        if redis.call('EXISTS', key) == 1 then
            return {'foreign', key}
        end
    end
    redis.call('HSET', META, 'format', FORMAT, 'epoch', ARGV[4], 'run', ARGV[3], 'revision', '0',
        'born', whole(now_ms()), 'swept', whole(now_ms()), 'sweeps', '0')
    return {'open', ARGV[4], '0', '1'}
end
if redis.call('HGET', META, 'run') ~= ARGV[3] then
    redis.call('HSET', META, 'run', ARGV[3], 'epoch', ARGV[4])
end
local epoch, revision = position()
local age = now_ms() - tonumber(redis.call('HGET', META, 'born') or '0')
return {'open', epoch, revision, age >= 0 and age < tonumber(ARGV[5]) and '1' or '0'}
