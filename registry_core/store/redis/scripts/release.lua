-- Put another guard in the place of the one that was read. ARGV[3] the one that was read, [4] the other.
-- Returns {'1'}, or {'0'} when it is not that one any more.
if redis.call('HGET', META, 'guard') ~= ARGV[3] then
    return {'0'}
end
redis.call('HSET', META, 'guard', ARGV[4])
redis.call('HINCRBY', META, 'sweeps', 1)  -- a sweep that was decided before this is void
return {'1'}
