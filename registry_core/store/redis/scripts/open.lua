-- Make the shard ready for use, or find that it is somebody else's. ARGV[3]: the run id of this server;
-- ARGV[4]: an epoch that was never used. A server that is not the one of the epoch begins the next one.
-- Returns {'foreign', key} or {'open', epoch, revision, '1' when it was empty}.
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
    redis.call('HSET', META, 'format', FORMAT, 'base', ARGV[4], 'turn', '0', 'epoch', ARGV[4], 'run', ARGV[3],
        'revision', '0', 'swept', whole(now_ms()), 'sweeps', '0')
    return {'open', ARGV[4], '0', '1'}
end
if redis.call('HGET', META, 'run') ~= ARGV[3] then
    local turn = redis.call('HINCRBY', META, 'turn', 1)
    redis.call('HSET', META, 'run', ARGV[3], 'epoch', redis.call('HGET', META, 'base') .. 'x' .. whole(turn))
end
local epoch, revision = position()
return {'open', epoch, revision, '0'}
