-- Remove the holder of a socket in this shard, when it must give way to a newcomer in another shard.
-- ARGV[3] field, [4] socket, [5] TTL in ms, [6] '1' when a critical one must.
-- Returns {'living'} | {'ok', epoch, revision, value or '' when it is already gone, tombstone}.
local field, now = ARGV[3], now_ms()
local holder, record = holder_of(ARGV[4])
local value, order = '', ''
if holder == field then
    if not yields(field, record, now, tonumber(ARGV[5]), ARGV[6] == '1') then
        return {'living'}
    end
    local tomb = remove(field, 'deregistered', now)
    value, order = tomb.value, told_of(tomb)
end
local at, revision = position()
return {'ok', at, revision, value, order}
