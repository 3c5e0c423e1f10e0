"""Parses REGISTRY_STORE, one URL: the servers, their credentials, and the prefix of the keys.

    redis://[user:password@]host[:6379][/db]?prefix=vertice
    redis+sentinel://[user:password@]s1[:26379],s2,s3[/db]?masters=a,b,c&joining=c&prefix=vertice

Use `rediss` for TLS. This module only parses: it resolves and connects nothing, and does not import redis.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from registry_core.domain.host_port import host_port, split_host_port
from registry_core.settings import switch

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
MAX_SHARDS: Final = 64
MAX_SENTINELS: Final = 15
DEFAULT_PREFIX: Final = "vertice"
# The name of the only shard of a plain server.
ONLY_SHARD: Final = "main"

_SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")
_COMMON: Final = frozenset({"prefix", "replicas", "ca", "cert", "key"})
_TLS_ONLY: Final = ("ca", "cert", "key")
_SENTINEL_ONLY: Final = frozenset({"masters", "joining", "sentinel_user", "sentinel_password", "hasten"})
_WORD: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HOST: Final = re.compile(r"[0-9A-Fa-f:.]+|[A-Za-z0-9._-]+", re.ASCII)


class ServerAddress(NamedTuple):
    """The address of one server."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)


class ServerAccess(msgspec.Struct, frozen=True):
    """Credentials and TLS options: the same for all servers of one kind."""

    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: str | None = None  # trusted in place of the system's authorities
    cert_file: str | None = None  # for servers that require a client certificate
    key_file: str | None = None  # of that certificate, when it has its own file
    server_name: str | None = None  # that certificates must have, in place of the host
    db: int = 0

    def __repr__(self) -> str:
        return f"Access(tls={self.tls}, db={self.db})"  # never a credential


class PoolTerms(msgspec.Struct, frozen=True):
    """How many connections to one master are opened in advance, and the most allowed."""

    idle: int = 5
    most: int = 50

    def __str__(self) -> str:
        return f"{self.idle}-{self.most}"


class RedisSettings(msgspec.Struct, frozen=True):
    """The settings from a Redis URL, and the pool sizes."""

    access: ServerAccess
    server: ServerAddress | None = None  # in a URL without Sentinels
    sentinels: tuple[ServerAddress, ...] = ()
    masters: tuple[str, ...] = ()  # by the Sentinels' names, which name the shards
    joining: tuple[str, ...] = ()  # those of the masters in which nothing is placed yet
    sentinel_access: ServerAccess = ServerAccess()
    prefix: str = DEFAULT_PREFIX
    replicas: int = 1  # how many must hold a write before it is acknowledged
    hasten: bool = True  # whether to repoint a replica at its new master before the Sentinels do
    pool: PoolTerms = PoolTerms()

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of the shards."""
        return self.masters or (ONLY_SHARD,)


def redis_settings(url: str) -> RedisSettings:
    """Return the settings in `url`. Raises ValueError with a message that shows no credential."""
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"it does not start with {', '.join(f'{s}://' for s in _SCHEMES)}")
    if "#" in rest:
        raise ValueError("write a # in it as %23")
    rest, _, query = rest.partition("?")
    rest, _, path = rest.partition("/")
    credentials, _, servers = rest.rpartition("@")
    with_sentinels = scheme.endswith("+sentinel")
    options = _options(query, _COMMON | _SENTINEL_ONLY if with_sentinels else _COMMON)
    tls = scheme.startswith("rediss")
    for name in _TLS_ONLY:
        if name in options and not tls:
            raise ValueError(f"{name}= is for rediss://")
    if "key" in options and "cert" not in options:
        raise ValueError("key= needs cert=")
    username, password = _credentials(credentials)
    files = ServerAccess(tls=tls, ca_file=options.get("ca"), cert_file=options.get("cert"), key_file=options.get("key"))
    access = msgspec.structs.replace(files, username=username, password=password, db=_db(path))
    prefix = options.get("prefix", DEFAULT_PREFIX)
    if not _WORD.fullmatch(prefix):
        raise ValueError("prefix= is 1 to 64 letters, digits and . _ -")
    replicas = options.get("replicas", "1" if with_sentinels else "0")
    if replicas not in ("0", "1"):
        raise ValueError("replicas= is 0 or 1")
    try:
        hasten = switch(options.get("hasten", "yes"))
    except ValueError:
        raise ValueError("hasten= is yes or no") from None
    if not with_sentinels:
        return RedisSettings(access, server=_server(servers, REDIS_PORT), prefix=prefix, replicas=int(replicas))
    masters = _names(options, "masters")
    if not masters:
        raise ValueError("masters= is missing: the comma-separated names by which the Sentinels know the masters")
    joining = _names(options, "joining")
    if not set(joining) < set(masters):
        raise ValueError("joining= must name some of masters=, not all and no others")
    return RedisSettings(
        access,
        sentinels=_sentinels(servers),
        masters=masters,
        joining=joining,
        sentinel_access=msgspec.structs.replace(
            files, username=options.get("sentinel_user"), password=options.get("sentinel_password")
        ),
        prefix=prefix,
        replicas=int(replicas),
        hasten=hasten,
    )


def without_credentials(settings: RedisSettings) -> str:
    """Return the URL of `settings` for people: without names and passwords of users."""
    access = settings.access
    scheme = f"redis{'s' if access.tls else ''}{'+sentinel' if settings.sentinels else ''}"
    credentials = "***@" if access.password else ""
    servers = ",".join(map(str, settings.sentinels or (settings.server,)))
    options = {
        "masters": ",".join(settings.masters),
        "joining": ",".join(settings.joining),
        "prefix": "" if settings.prefix == DEFAULT_PREFIX else settings.prefix,
        "ca": access.ca_file,
        "sentinel_password": "***" if settings.sentinel_access.password else "",
    }
    query = "&".join(f"{name}={value}" for name, value in options.items() if value)
    return f"{scheme}://{credentials}{servers}{f'/{access.db}' if access.db else ''}{f'?{query}' if query else ''}"


def _options(query: str, known: frozenset[str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=20)
    except ValueError:
        raise ValueError("the part after the ? is not name=value&name=value") from None
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise ValueError(f"unknown option {name}=; known options: {', '.join(sorted(known))}")
        if name in options:
            raise ValueError(f"{name}= occurs twice")
        if not value:
            raise ValueError(f"{name}= is empty")
        options[name] = value
    if "sentinel_user" in options and "sentinel_password" not in options:
        raise ValueError("sentinel_user= needs sentinel_password=")
    return options


def _credentials(text: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    username, colon, password = text.partition(":")
    if not colon:
        raise ValueError("the part before the @ must be user:password or :password")
    if not password:
        raise ValueError("the password before the @ is empty")
    return unquote(username) or None, unquote(password)


def _db(path: str) -> int:
    if path in ("", "0"):
        return 0
    if not re.fullmatch(r"[1-9]\d{0,4}", path, re.ASCII):
        raise ValueError("the part after the / must be the number of a database")
    return int(path)


def _server(text: str, default_port: int) -> ServerAddress:
    if not text:
        raise ValueError("it names no server (host:port)")
    try:
        host, port = split_host_port(text)
    except ValueError as error:
        raise ValueError(f"its server is not host:port ({error})") from None
    if not _HOST.fullmatch(host):
        raise ValueError("its server is not host:port")
    if port == 0:
        raise ValueError("0 is not a port")
    return ServerAddress(host, default_port if port is None else port)


def _sentinels(text: str) -> tuple[ServerAddress, ...]:
    found = tuple(_server(part.strip(), SENTINEL_PORT) for part in text.split(","))
    if len(set(found)) != len(found):
        raise ValueError("a Sentinel occurs twice")
    if len(found) > MAX_SENTINELS:
        raise ValueError(f"it names more than {MAX_SENTINELS} Sentinels")
    return found


def _names(options: dict[str, str], option: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in options.get(option, "").split(",") if part.strip())
    for name in names:
        if not _WORD.fullmatch(name):
            raise ValueError(f"{name!r} in {option}= is not letters, digits and . _ -")
    if len(set(names)) != len(names):
        raise ValueError(f"a name occurs twice in {option}=")
    if len(names) > MAX_SHARDS:
        raise ValueError(f"{option}= has more than {MAX_SHARDS} names")
    return names
