-- Keep an entry of the deny list, unless a newer one about its subject is there. ARGV[3] the subject; [4] when it was
-- said, [5] when it ends, both in ms of the replicas' clocks; [6] '1' if it denies, '0' if it withdraws; [7] the entry
-- as JSON; [8] the most entries; [9] the time at the replica, in ms.
-- A value is one line that this script decides by, `<said> <ends> <denies>`, then the JSON.
-- Returns {'ok'} | {'newer'} | {'full'}.
local DENIED = P .. ':denied'
local function line_of(value)
    return string.match(value, '^(%d+) (%d+) ([01])\n')
end
local said, denies, now = tonumber(ARGV[4]), ARGV[6], tonumber(ARGV[9])
local held = redis.call('HGET', DENIED, ARGV[3])
local before, _, denied = line_of(held or '')
if before and (tonumber(before) > said or (tonumber(before) == said and denied >= denies)) then
    return {'newer'}
end
if not held and redis.call('HLEN', DENIED) >= tonumber(ARGV[8]) then
    local all = redis.call('HGETALL', DENIED)
    for at = 1, #all, 2 do
        local _, ends = line_of(all[at + 1])
        if not ends or tonumber(ends) <= now then
            redis.call('HDEL', DENIED, all[at])
        end
    end
    if redis.call('HLEN', DENIED) >= tonumber(ARGV[8]) then
        return {'full'}
    end
end
redis.call('HSET', DENIED, ARGV[3], ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. denies .. '\n' .. ARGV[7])
return {'ok'}
