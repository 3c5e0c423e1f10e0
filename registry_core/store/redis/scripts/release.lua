-- Replace the guard, if it is still the one that was read. ARGV[3] the one that was read, [4] the new one.
-- Returns {'1'}, or {'0'} when the guard has changed.
if redis.call('HGET', META, 'guard') ~= ARGV[3] then
    return {'0'}
end
redis.call('HSET', META, 'guard', ARGV[4])
redis.call('HINCRBY', META, 'sweeps', 1)  -- voids a sweep decided before this
return {'1'}
