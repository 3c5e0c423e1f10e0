-- Read the guard, and change nothing. Returns {guard or '', now}.
return {redis.call('HGET', META, 'guard') or '', whole(now_ms())}
