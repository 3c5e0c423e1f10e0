"""TLS towards Redis and Sentinels: one context for each kind of server, of files that are read again when they change.

It does not import redis.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from functools import partial
from typing import Final

from registry_core.blocking import Threads
from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.ports.clock import SystemClock
from registry_core.security.pem_paths import KeyPair
from registry_core.security.tls_contexts import Certificate, UnusableFile, client_context
from registry_core.security.tls_renewal import LOOK_EVERY_S, Renewal, RenewedContext
from registry_core.store.redis.url import RedisSettings, ServerAccess

MAX_CONTEXTS: Final = 8
# For the disk to deliver the files at the start.
LOAD_S: Final = 10.0
# What was read, for those who must not wait for the disk. There are two for each store of this process.
_loaded: Final[dict[ServerAccess, RedisTls]] = {}


class RedisTls:
    """The TLS of one kind of server. Raises SettingsError, naming the option of the URL, when a file cannot be used."""

    def __init__(self, access: ServerAccess) -> None:
        pair = None if access.cert_file is None else KeyPair(access.cert_file, access.key_file or "")
        ca = access.ca_file or ""
        files = (*((ca,) if ca else ()), *(pair.files if pair is not None else ()))

        def make() -> tuple[ssl.SSLContext, Certificate | None]:
            return client_context(ca, pair)

        try:
            self.renewal = Renewal(
                make, files, use="redis client", certificate=lambda value: value[1], clock=SystemClock()
            )
        except UnusableFile as error:
            raise SettingsError(f"REGISTRY_STORE: {_named(access, error)}: {error.reason}") from None
        self.context = RenewedContext(lambda: self.renewal.current[0])
        if access.server_name:
            self.context.names = {"": access.server_name}


def _named(access: ServerAccess, error: UnusableFile) -> str:
    if error.path == access.ca_file:
        return f"ca={access.ca_file}"
    return f"cert={access.cert_file}" + (f", key={access.key_file}" if access.key_file else "")


@functools.lru_cache(maxsize=MAX_CONTEXTS)
def redis_tls(access: ServerAccess) -> RedisTls:
    """Return the TLS for `access`, which all connections share: 1.2 or newer, certificate and name checked.

    The checks cannot be turned off. Blocks the first time. Raises SettingsError.
    """
    return RedisTls(access)


async def load_redis_tls(access: ServerAccess) -> None:
    """Read the files of `access`, in a thread, for `redis_tls`. Raises SettingsError."""
    try:
        _loaded[access] = await Threads("read certificates", 1).run(partial(redis_tls, access), timeout_s=LOAD_S)
    except OSError as error:
        raise SettingsError(f"REGISTRY_STORE: its files of TLS cannot be read: {cause_of(error)}") from None


def certificate_end(settings: RedisSettings) -> float | None:
    """Return when the first of our certificates towards Redis and Sentinels ends, in Unix seconds; None without one."""
    files = [_loaded[access] for access in (settings.access, settings.sentinel_access) if access in _loaded]
    ends = [end for tls in files if (end := tls.renewal.health().expires_at) is not None]
    return min(ends, default=None)


async def keep_certificates(settings: RedisSettings) -> None:
    """Look at the files regularly, until cancelled. New connections use what they hold then."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for access in {settings.access, settings.sentinel_access}:
            if access.tls:
                await redis_tls(access).renewal.look()
