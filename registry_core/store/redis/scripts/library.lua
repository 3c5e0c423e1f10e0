-- The common beginning of every script of a shard. ARGV[1] is the prefix of the keys; ARGV[2] the deadline after which
-- nothing may be written, in ms of this server's clock, or ''. For a signed request, its mark, its attempt and the ms for
-- which the mark is kept follow the deadline, with blanks between them.
--
-- A record's value is one line that scripts decide by, then the instance as JSON. No script decodes or encodes that:
-- cjson would turn empty arrays into objects, and change numbers. LINE, the pattern of the line, is built from the list
-- of its words in rows.py:
--     <epoch> <registered_at, ms> <status> <suspect 0|1> <host:port>
-- The last member of the JSON is the order of the write, as text: the previous release reads the line by its five words
-- and ignores unknown members:
--     ,"order":"<sequence> <life> <revision>"}
-- The sequence is the owner's, '-' for none. Life and revision are the stamp: of two writes of one instance, the one
-- with the higher stamp came later. Times are milliseconds of this server's own clock.
--
-- A tombstone is such a text, with the epoch before it and the removed value, if any, below it.
local P = ARGV[1]
local META, RECORDS, LEASES = P .. ':meta', P .. ':records', P .. ':leases'
local ADDRESSES, NAMES, SUSPECTS, EVENTS = P .. ':addresses', P .. ':names', P .. ':suspects', P .. ':events'
local TOMBS, TOMBED = P .. ':tombs', P .. ':tombed'

local function now_ms()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function whole(number)
    return string.format('%.0f', number)
end

-- The label of a field's service, or nil for a foreign field.
local function label_of(field)
    return string.match(field, '^([%w%-]+)/[%w%._:%-%[%]]+$')
end

local function ids_of(label)
    return P .. ':ids:' .. label
end

-- The record in a value, or nil.
local function parsed(value)
    local epoch, registered_at, status, suspect, address, json = string.match(value, LINE .. '(.*)$')
    if not epoch then
        return nil
    end
    local rest, sequence, life, revision = string.match(json, '^(.*),"order":"(%S+) (%d+) (%d+)"}$')
    return {
        epoch = tonumber(epoch), registered_at = tonumber(registered_at), status = status,
        suspect = suspect == '1', address = address, json = rest and rest .. '}' or json,
        sequence = tonumber(sequence or '-'), life = tonumber(life or '0'), revision = tonumber(revision or '0'),
    }
end

-- Loopback and link-local addresses. The same as in domain/names.py.
local function is_local(ip)
    return string.match(ip, '^127%.') or string.match(ip, '^169%.254%.') or ip == '::1' or string.match(ip, '^fe[89ab]%x:')
end

local function is_name(host)
    return not string.match(host, '[%[:]') and not string.match(host, '^%d+%.%d+%.%d+%.%d+$')
end

-- What an instance holds alone: its host:port first, then each of its addresses with the port, all with 'udp/' in front
-- over UDP, which has ports of its own. The same as Claimed.sockets in domain/records.py. The JSON's first members
-- "protocol" and "addresses" are the instance's: of its strings, none can hold these quotes unescaped, and its metadata
-- comes later.
local function sockets_of(record)
    local over = string.match(record.json, '[,{]"protocol":"([^"]*)"') == 'udp' and 'udp/' or ''
    local host, port = string.match(record.address, '^(.*):(%d+)$')
    local found = {over .. record.address}
    for ip in string.gmatch(string.match(record.json, '[,{]"addresses":%[([^%]]*)%]') or '', '"([^"]*)"') do
        ip = string.match(ip, '^::ffff:(%d+%.%d+%.%d+%.%d+)$') or ip  -- as earlier releases wrote it
        local socket = over .. (string.find(ip, ':', 1, true) and '[' .. ip .. ']' or ip) .. ':' .. (port or '')
        if (host == 'localhost' or not is_local(ip)) and socket ~= found[1] then
            found[#found + 1] = socket
        end
    end
    return found
end

local function holds(record, socket)
    for _, each in ipairs(sockets_of(record)) do
        if each == socket then
            return true
        end
    end
    return false
end

-- The event content of a record, without the order of its write.
local function content(record)
    return table.concat({
        whole(record.epoch), whole(record.registered_at), record.status, record.suspect and '1' or '0', record.address,
    }, ' ') .. '\n' .. record.json
end

local function order_of(record)
    return (record.sequence and whole(record.sequence) or '-') .. ' ' .. whole(record.life) .. ' ' .. whole(record.revision)
end

local function written(record)
    return string.sub(content(record), 1, -2) .. ',"order":"' .. order_of(record) .. '"}'
end

local function record_of(field)
    local value = redis.call('HGET', RECORDS, field)
    return value and parsed(value) or nil
end

local function tombstone(text)
    local epoch, sequence, life, revision, value = string.match(text, '^(%d+) (%S+) (%d+) (%d+)\n?(.*)$')
    return epoch and {
        epoch = tonumber(epoch), sequence = tonumber(sequence), life = tonumber(life), revision = tonumber(revision),
        removal = true, value = value,
    } or nil
end

-- The tombstone of a field, or nil when there is none or it has expired.
local function tomb_of(field, now)
    local at = redis.call('ZSCORE', TOMBED, field)
    local text = at and now - tonumber(at) < TOMBSTONE_MS and redis.call('HGET', TOMBS, field)
    return text and tombstone(text) or nil
end

local function told_of(tomb)
    return whole(tomb.epoch) .. ' ' .. order_of(tomb)
end

-- Whether the first was written before the second.
local function came_before(one, other)
    return one.life < other.life or (one.life == other.life and one.revision < other.revision)
end

-- Why a write of this epoch and sequence (nil: none) must not run after `last`, the last write or removal: 'fenced',
-- 'late', or 'again' when it is the same write; nil when it may run. The same table as in domain/order.py.
local function verdict(last, epoch, sequence, removal)
    if not last then
        return nil
    elseif epoch and epoch ~= last.epoch then
        return epoch < last.epoch and 'fenced' or nil
    elseif not sequence or not last.sequence or sequence > last.sequence then
        return nil
    elseif sequence < last.sequence then
        return 'late'
    end
    return (removal or false) == (last.removal or false) and 'again' or 'late'
end

-- The sequence to remember after an accepted write: one without a sequence leaves its owner's as it is.
local function sequence_after(last, epoch, sequence)
    return sequence or (last and (not epoch or epoch == last.epoch) and last.sequence) or nil
end

-- The answer to a rejected write: {'late', sequence}, or {'fenced', epoch, the owner's value or ''}.
local function refusal(why, last)
    if why == 'fenced' then
        return {why, whole(last.epoch), last.removal and '' or written(last)}
    end
    return {why, last.sequence and whole(last.sequence) or '0'}
end

-- Take the next revision, and stamp a record or a tombstone with it.
local function stamped(record)
    record.revision = redis.call('HINCRBY', META, 'revision', 1)
    record.life = tonumber(redis.call('HGET', META, 'life') or '0')
    return record
end

-- Append the event of a change under a revision. When it does not fit after the last entry, that entry is foreign, or
-- the key holds something else: start a new stream, so that every reader reads the whole shard.
local function tell(revision, ...)
    local id = whole(revision) .. '-0'
    local told = redis.pcall('XADD', EVENTS, 'MAXLEN', '~', STREAM_LENGTH, id, ...)
    if type(told) == 'table' and told.err then
        redis.call('DEL', EVENTS)
        redis.call('XADD', EVENTS, id, ...)
    end
end

-- Append a record's event under its own revision, or under `revision` when it was stamped in an earlier life.
local function tell_registered(field, record, heartbeat_ms, revision)
    tell(revision or record.revision, 't', 'registered', 'k', field, 'v', written(record), 'h', whole(heartbeat_ms))
end

-- Remember a removal for a while, so that writes sent before it do not run after it.
local function bury(field, tomb, now)
    redis.call('HSET', TOMBS, field, told_of(tomb) .. '\n' .. (tomb.value or ''))
    redis.call('ZADD', TOMBED, whole(now), field)
    local most = redis.call('ZCARD', TOMBED) - MAX_TOMBSTONES
    local old = redis.call('ZRANGEBYSCORE', TOMBED, '-inf', '(' .. whole(now - TOMBSTONE_MS), 'LIMIT', 0, 10)
    if #old == 0 and most > 0 then
        old = redis.call('ZRANGE', TOMBED, 0, most - 1)
    end
    for _, each in ipairs(old) do
        redis.call('ZREM', TOMBED, each)
        redis.call('HDEL', TOMBS, each)
    end
end

local function unbury(field)
    if redis.call('ZREM', TOMBED, field) == 1 then
        redis.call('HDEL', TOMBS, field)
    end
end

-- Let go of the sockets of a record that are not in `staying`.
local function vacate(field, record, staying)
    local keys = sockets_of(record)
    keys[#keys + 1] = record.address  -- the previous release keeps an instance over UDP under its host:port alone
    for _, key in ipairs(keys) do
        if not staying[key] and redis.call('HGET', ADDRESSES, key) == field then
            redis.call('HDEL', ADDRESSES, key)
        end
    end
end

-- Remove a field from every key, and append the event. `tomb` is the tombstone to keep, with a stamp when the removal
-- happened in an earlier life.
local function remove(field, why, now, tomb)
    local record, label = record_of(field), label_of(field)
    local there = redis.call('HDEL', RECORDS, field)
    redis.call('ZREM', LEASES, field)
    redis.call('ZREM', SUSPECTS, field)
    if record then
        vacate(field, record, {})
    end
    if label then
        redis.call('ZREM', ids_of(label), field)
        if redis.call('EXISTS', ids_of(label)) == 0 then
            redis.call('HDEL', NAMES, label)
        end
    end
    if there == 0 or not label then
        return nil  -- no reader was told of it
    end
    tomb = tomb or {epoch = record and record.epoch or 0, sequence = record and record.sequence}
    tomb.value = record and written(record) or ''
    local told = tomb.revision and redis.call('HINCRBY', META, 'revision', 1) or stamped(tomb).revision
    tell(told, 't', why, 'k', field, 'o', told_of(tomb))
    if why == 'deregistered' then
        bury(field, tomb, now)
    end
    return tomb
end

-- Store a record under its field, in every key but that of the leases. `held` is the previous record.
local function put(field, name, record, held)
    local sockets, staying = sockets_of(record), {}
    for _, socket in ipairs(sockets) do
        staying[socket] = true
    end
    if held then
        vacate(field, held, staying)
    end
    for number, socket in ipairs(sockets) do
        local before = redis.call('HGET', ADDRESSES, socket)
        local other = before and before ~= field and record_of(before)
        local shared = other and holds(other, socket)
        if other and not shared then
            redis.call('HSETNX', ADDRESSES, sockets_of(other)[1], before)  -- over UDP, from the previous release
        end
        -- The previous release gives an address to several, when it is registered by names.
        if number == 1 or not shared then
            redis.call('HSET', ADDRESSES, socket, field)
        end
    end
    redis.call('HSET', NAMES, label_of(field), name)
    redis.call('ZADD', ids_of(label_of(field)), whole(record.registered_at), field)
    redis.call('ZREM', SUSPECTS, field)
    redis.call('HSET', RECORDS, field, written(record))
    unbury(field)
end

-- The service name that owns a label, or nil when no instance is registered under it.
local function name_of(label)
    local name = redis.call('HGET', NAMES, label)
    return name and redis.call('EXISTS', ids_of(label)) == 1 and name or nil
end

-- The holder of a socket: its field and its record; nothing when the record is gone.
local function holder_of(socket)
    for _, key in ipairs({socket, string.match(socket, '^udp/(.+)$')}) do
        local field = redis.call('HGET', ADDRESSES, key)
        local record = field and record_of(field)
        if record and holds(record, socket) then
            return field, record
        end
    end
    return nil, nil
end

-- The holders of the sockets that `claimed` wants and that `held`, its own record or nil, does not hold yet: field to
-- record. The index lacks what the previous release wrote by names, so the fields in `known` are looked at, too.
local function rivals_of(field, claimed, held, known)
    local wanted, rivals = {}, {}
    for _, socket in ipairs(sockets_of(claimed)) do
        if not (held and holds(held, socket)) then
            wanted[socket] = true
            local holder, record = holder_of(socket)
            if holder and holder ~= field then
                rivals[holder] = record
            end
        end
    end
    for _, holder in ipairs(known) do
        local record = holder ~= field and record_of(holder)
        for _, socket in ipairs(record and sockets_of(record) or {}) do
            if wanted[socket] then
                rivals[holder] = record
            end
        end
    end
    return rivals
end

-- In how many ms the holder of an address gives way to a newcomer, unless it is heard of; negative when it does now.
-- The same as gives_way_in_s in domain/admission.py. `terms`: how long it may be silent, and how long before a newcomer
-- whose check passes, in ms; may: the newcomer may displace one that may be alive; moved: the host:port by whose name
-- the newcomer moved there, or nil.
local function gives_way_in(field, record, now, terms)
    local score = redis.call('ZSCORE', LEASES, field)
    if record.suspect or not score or (terms.may and record.status == 'critical') then
        return -1
    end
    local host, moved = string.match(record.address, '^(.*):%d+$'), terms.moved and string.match(terms.moved, '^(.*):%d+$')
    if terms.may and moved and moved ~= host and is_name(moved) and is_name(host or '') then
        return -1
    end
    return tonumber(score) + (terms.may and terms.passing_ms or terms.ttl_ms) - now
end

-- The epoch and revision after what a script did, so that its caller knows when the change has been delivered.
local function position()
    local found = redis.call('HMGET', META, 'epoch', 'revision')
    return found[1] or '', found[2] or '0'
end
