"""The settings of TLS towards Redis and Sentinels, for what does not fit into a URL well."""

from __future__ import annotations

from typing import Final

import msgspec

from registry_core.errors import SettingsError
from registry_core.security.pem_paths import path
from registry_core.setting_values import Values
from registry_core.settings import Setting, text
from registry_core.store.redis.url import RedisSettings, ServerAccess

REDIS_CA: Final = Setting(
    "REGISTRY_REDIS_CA",
    path,
    "",
    "the file with the authorities that certificates of Redis and Sentinels must come from, in place of the system's; "
    "read again when it changes",
    "/run/tls/redis-ca.pem",
)
REDIS_CERT: Final = Setting(
    "REGISTRY_REDIS_CERT",
    path,
    "",
    "the file with the certificate that Redis and Sentinels are shown, with its chain; read again when it changes",
    "/run/tls/replica.pem",
)
REDIS_KEY: Final = Setting(
    "REGISTRY_REDIS_KEY",
    path,
    "",
    "the file with the key of that certificate; not needed when the key is in the same file",
    "/run/tls/replica.key",
)
REDIS_TLS_NAME: Final = Setting(
    "REGISTRY_REDIS_TLS_NAME",
    text,
    "",
    "the name that certificates of Redis and Sentinels must have, in place of the host or address at which each is "
    "found: Sentinels name the masters by address",
    "redis.fleet.example",
)
REDIS_TLS_SETTINGS: Final[tuple[Setting[str], ...]] = (REDIS_CA, REDIS_CERT, REDIS_KEY, REDIS_TLS_NAME)
# The fields of the access, and the options of the URL that set them, too.
_FIELDS: Final = (
    (REDIS_CA, "ca_file", "ca="),
    (REDIS_CERT, "cert_file", "cert="),
    (REDIS_KEY, "key_file", "key="),
    (REDIS_TLS_NAME, "server_name", ""),
)


def with_redis_tls(redis: RedisSettings | None, values: Values) -> RedisSettings | None:
    """Return the settings with those of TLS. Raises SettingsError when they do not go together."""
    given = {setting: values[setting].strip() for setting, _, _ in _FIELDS if values[setting]}
    if not given:
        return redis
    first = values.label(next(iter(given)).name)
    if redis is None or not redis.access.tls:
        raise SettingsError(f"{first}: it needs a REGISTRY_STORE that begins with rediss:// or rediss+sentinel://")
    changes: dict[str, str] = {}
    for setting, field, option in _FIELDS:
        if setting not in given:
            continue
        if getattr(redis.access, field) is not None:
            raise SettingsError(f"{values.label(setting.name)}: REGISTRY_STORE has {option} as well; leave one out")
        changes[field] = given[setting]
    if "key_file" in changes and "cert_file" not in changes and redis.access.cert_file is None:
        raise SettingsError(f"{values.label(REDIS_KEY.name)}: it needs {REDIS_CERT.name}")
    return msgspec.structs.replace(
        redis, access=_with(redis.access, changes), sentinel_access=_with(redis.sentinel_access, changes)
    )


def _with(access: ServerAccess, changes: dict[str, str]) -> ServerAccess:
    return msgspec.structs.replace(access, **changes)
