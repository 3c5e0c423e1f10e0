"""Repoints a replica at its new master, as the Sentinels are about to do themselves."""

from __future__ import annotations

from typing import Final

import structlog
from redis.exceptions import RedisError

from registry_core.store.redis.failures import words_of
from registry_core.store.redis.pool import close_client, open_client
from registry_core.store.redis.url import ServerAccess, ServerAddress

TELL_TIMEOUT_S: Final = 1.0

_log = structlog.get_logger(component="store.redis")


async def repoint(shard: str, access: ServerAccess, replica: ServerAddress, master: ServerAddress) -> None:
    """Have `replica` follow `master`. A failure is logged, and left to the Sentinels."""
    client = open_client(replica, access, timeout_s=TELL_TIMEOUT_S, max_connections=1)
    try:
        await client.replicaof(master.host, master.port)
        _log.info("redis replica repointed", shard=shard, node=str(replica), master=str(master))
    except (RedisError, OSError) as error:
        _log.warning("redis replica not repointed", shard=shard, node=str(replica), reason=words_of(error))
    finally:
        await close_client(client)
