"""Finds what is written like an address in a text: URLs, `host:port`, and the hosts and ports of connection strings.

Pure, and linear in the length of the text. It reads only host and port: user names and passwords are neither kept nor
shown. It does not know which hosts exist.
"""

from __future__ import annotations

import bisect
import ipaddress
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from cli.compose.errors import Place
from cli.compose.variable_names import identity_of

MAX_VALUE_LENGTH: Final = 4096
_HOST: Final = r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*)"
_NUMBER: Final = r"(?P<port>[0-9]{1,12})"
_PORT: Final = f":{_NUMBER}"
# The bound keeps a text such as `a+a+a+...` from being read once for each of its letters.
_SCHEME: Final = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,39})://(?:[^\s/@,]*@)?"
# It starts at a word's start only, so that a long word is read once. `u:1@host` is a password, and what follows a
# placeholder such as `%(name)s` or a backslash is part of a pattern.
_START: Final = r"(?<![\w.$}/\\%)*-])"
# What follows a part of a pattern: `store{1...4}`, `web[0-9]`, `api\.example`.
_PATTERN: Final = r"{\[*\\+^"
_END_OF_HOST: Final = rf"(?![\w.:@$<({_PATTERN}-])"
_END_OF_PORT: Final = rf"(?![\w.:@{_PATTERN}])"
# Not re.ASCII: to it, `ö` would be no letter, and a word would start after it.
_WITH_PORT: Final = re.compile(rf"{_START}(?:{_SCHEME})?{_HOST}{_PORT}{_END_OF_PORT}")
_URL: Final = re.compile(rf"{_START}{_SCHEME}{_HOST}{_END_OF_HOST}")
# A URL without its scheme: `//host:port/path` (RFC 3986 section 4.2).
_RELATIVE: Final = re.compile(rf"(?<![^\s\"'=,;(])//(?:[^\s/@,]*@)?{_HOST}{_PORT}{_END_OF_PORT}")
# A target of gRPC's own resolvers: `dns:///host:port`.
_RESOLVED: Final = re.compile(rf"{_START}(?P<scheme>dns|passthrough):///{_HOST}{_PORT}{_END_OF_PORT}")
# `jdbc:oracle:thin:@host:port:sid`, and the same with `//` and a service name.
_ORACLE: Final = re.compile(rf"(?i:jdbc:(?P<scheme>oracle)):\w+:[^\s@]{{0,128}}@(?://)?{_HOST}{_PORT}(?=[:/]|$)")
# A member of a ZooKeeper ensemble: `server.1=host:2888:3888;2181`.
_ENSEMBLE: Final = re.compile(rf"(?<![\w.-])server\.\d{{1,3}}={_HOST}{_PORT}(?=:\d)")
# The members of a MongoDB replica set: `rs0/host:port,host:port`.
_REPLICA_SET: Final = re.compile(
    rf"{_START}(?i:rs|repl|shard|cfg|config)[A-Za-z0-9_-]{{0,60}}/{_HOST}{_PORT}{_END_OF_PORT}"
)
# The host of a connection string: `host=pg port=5432`, `Server=tcp:pg,1433;Database=x`, `(HOST=ora)(PORT=1521)`.
_KEYWORD: Final = re.compile(
    r"(?<![\w.-])(?i:host|hostname|server|data source|addr|address)\s{0,4}=\s{0,4}['\"]?(?:(?i:tcp):)?"
    rf"{_HOST}(?:,{_NUMBER})?{_END_OF_HOST}"
)
_KEYWORD_PORT: Final = re.compile(r"(?<![\w.-])(?i:port)\s{0,4}=\s{0,4}['\"]?(\d{1,12})(?!\w)")
# A name within a text, whose value follows: `-Dcors.origins=`, `?redirect_uri=`, `"issuer":`, `issuer: `, `--issuer `.
_KEY: Final = re.compile(
    r"(?:(?<![\w.-])-D|(?<![\w.]))(?P<key>[A-Za-z_][\w.-]{0,80})(?:\s{0,4}=|[\"']\s{0,4}:|:(?=\s))"
    r"|(?<!\S)--?(?P<option>[A-Za-z][\w.-]{0,80})(?=\s)"
)
# Where a value ends: at a blank, unless the list or the sign before it goes on.
_END_OF_VALUE: Final = re.compile(r"[^\s,:=\[{(|;]\s")
_PERHAPS_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|(?<![\w.:])[0-9A-Fa-f:.]+(?![\w.:])", re.ASCII)
_PATH: Final = re.compile(r"/[^\s\"',;)\]}]|[?#]")
ANY_ADDRESS: Final = frozenset({"0.0.0.0"})  # noqa: S104 - compared, not bound

DEFAULT_PORTS: Final = {
    "http": 80,
    "ws": 80,
    "https": 443,
    "wss": 443,
    "redis": 6379,
    "rediss": 6379,
    "postgres": 5432,
    "postgresql": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "amqp": 5672,
    "amqps": 5671,
    "mongodb": 27017,
    "nats": 4222,
    "bolt": 7687,
    "neo4j": 7687,
    "mqtt": 1883,
    "ldap": 389,
    "kafka": 9092,
}
# Schemes that are followed by a host, although they have no default port here.
_OF_HOSTS: Final = frozenset(
    [
        *("tcp", "udp", "tls", "ssl", "grpc", "grpcs", "h2c", "ssh", "git", "ftp", "ftps", "sftp", "smb", "nfs", "dns"),
        *("smtp", "smtps", "submission", "imap", "imaps", "pop3", "pop3s", "ldaps", "rtsp", "rtmp", "sip", "syslog"),
        *("sqlserver", "mssql", "oracle", "clickhouse", "cassandra", "couchdb", "influxdb", "memcached", "mqtts"),
        *("stomp", "zookeeper", "etcd", "consul", "vault", "gelf", "fluentd", "statsd", "otlp", "thrift", "pulsar"),
    ]
)
# Schemes that are followed by a bucket, a queue, a path or an identity.
_NO_HOSTS: Final = frozenset(
    [
        *("unix", "file", "sqlite", "sqlite3", "arn", "urn", "data", "npipe", "fd", "pipe", "tag", "mailto", "spiffe"),
        *("s3", "s3a", "s3n", "gs", "gcs", "az", "azblob", "abfs", "wasb", "wasbs", "oss", "cos", "swift", "r2", "b2"),
        *("queue", "topic", "exchange", "stream", "channel", "event", "sqs", "sns", "kinesis", "pubsub", "gcppubsub"),
        *("memory", "mem", "inmem", "inmemory", "local", "null", "classpath", "class", "resource", "env", "embedded"),
        *("docker", "oci", "image", "ssm", "secret", "secretsmanager", "gcpsecretmanager", "awskms", "gcpkms", "kms"),
    ]
)


class HardCodedAddress(msgspec.Struct, frozen=True):
    """A hard-coded host, usually with a port.

    `variable` is its source: a variable's name, or `command`. `port` None: no port is given, and the scheme has
    no default. `port_variable` is the variable that holds the port, when it is a different one. `has_path`: it has no
    port, and a path or a query follows, so that no program can append one. `is_apart`: host and port do not stand
    together as `host:port`, or something else stands behind them. `label`: the option before it in a command, or the
    name within the text that makes it an identity, as in `?redirect_uri=http://host`.
    """

    variable: str
    place: Place
    host: str
    port: int | None
    scheme: str = ""
    port_written: bool = True
    port_variable: str | None = None
    port_place: Place | None = None
    has_path: bool = False
    is_apart: bool = False
    label: str = ""

    @property
    def written(self) -> str:
        """The address as written, without the text around it."""
        scheme = f"{self.scheme}://" if self.scheme and not self.is_apart else ""
        port = f":{self.port}" if self.port is not None and (self.port_written or self.port_variable) else ""
        return f"{scheme}{self.host}{port}"

    @property
    def is_http(self) -> bool:
        """Whether it is called over HTTP."""
        return self.scheme in ("http", "https", "ws", "wss")

    @property
    def is_complete(self) -> bool:
        """Whether its port is certain: written, in a variable of its own, or followed by a path."""
        return self.port_written or self.port_variable is not None or self.has_path

    @property
    def has_known_scheme(self) -> bool:
        """Whether its scheme is known to be followed by a host."""
        return self.scheme in DEFAULT_PORTS or self.scheme in _OF_HOSTS


class Located(NamedTuple):
    """An address and its position in a text, from its host to the end of its port."""

    start: int
    end: int
    address: HardCodedAddress


def with_port_or_scheme(text: str, variable: str, place: Place) -> Iterator[HardCodedAddress]:
    """Return the URLs and `host:port` pairs in a text, each host of a list separately."""
    return (located.address for located in located_in(text, variable, place))


def located_in(text: str, variable: str, place: Place) -> Iterator[Located]:
    """Return the same, with the position of each in the text."""
    whole = text
    text = _PERHAPS_IPV6.sub(_blanked, text[:MAX_VALUE_LENGTH])
    scheme = ""
    matches = _matches(text)
    ports = list(_KEYWORD_PORT.finditer(text)) if any(is_apart for _, is_apart in matches) else []
    labels = _labels(text, [match.start() for match, _ in matches])
    for match, is_apart in matches:
        if match.end() == MAX_VALUE_LENGTH < len(whole):
            continue  # its end is not known
        parts = match.groupdict()
        own = (parts.get("scheme") or "").lower().rpartition(":")[2].partition("+")[0]
        # `nats://a:4222,b:4222`: the parts after a comma are of the same kind.
        scheme = own or (scheme if text[match.start() - 1 : match.start()] == "," else "")
        if scheme in _NO_HOSTS or match["host"] in ANY_ADDRESS:
            continue
        port = parts.get("port") or (_port_behind(match, ports) if is_apart else None)
        address = HardCodedAddress(
            variable,
            place,
            match["host"],
            int(port) if port else DEFAULT_PORTS.get(scheme),
            scheme,
            bool(port),
            has_path=not port and _PATH.match(text, match.end()) is not None,
            is_apart=is_apart,
            label=labels.get(match.start(), ""),
        )
        yield Located(match.start("host"), match.end(), address)


def _matches(text: str) -> list[tuple[re.Match[str], bool]]:
    """Return what may be addresses, in order, each with whether host and port stand apart."""
    found: dict[int, tuple[re.Match[str], bool]] = {}
    patterns = [(_WITH_PORT, False), (_URL, False)]
    if "//" in text:
        patterns += [(_RELATIVE, False), (_RESOLVED, False)]
    if "/" in text:
        patterns.append((_REPLICA_SET, False))
    if "=" in text or "@" in text:
        patterns += [(_ORACLE, True), (_ENSEMBLE, True)]
    if text.count("=") > 1:
        patterns.append((_KEYWORD, True))
    for pattern, is_apart in patterns:
        for match in pattern.finditer(text):
            found.setdefault(match.start("host"), (match, is_apart))
    return [found[at] for at in sorted(found)]


def _labels(text: str, starts: list[int]) -> dict[int, str]:
    """Return the name whose value each of these positions, in order, is within, where that makes it an identity."""
    keys = list(_KEY.finditer(text)) if starts else []
    found: dict[int, str] = {}
    at, label, seen = 0, "", 0
    for start in starts:
        while at < len(keys) and keys[at].end() <= start:
            label, seen = keys[at]["key"] or keys[at]["option"], keys[at].end()
            at += 1
        blanks = len(text[seen:start]) - len(text[seen:start].lstrip())
        if label and _END_OF_VALUE.search(text, seen + blanks, start):
            label = ""
        seen = max(seen, start)
        if identity_of(label):
            found[start] = label
    return found


def _port_behind(host: re.Match[str], ports: list[re.Match[str]]) -> str | None:
    """Return the port of a connection string's host: the first one behind it, else the first."""
    if not ports:
        return None
    at = bisect.bisect_left(ports, host.end(), key=lambda port: port.start())
    return ports[at if at < len(ports) else 0][1]


def _blanked(word: re.Match[str]) -> str:
    """Return blanks for an IPv6 address, as the end of one reads like `host:port`, and the word itself otherwise."""
    try:
        ipaddress.IPv6Address(word[0].removeprefix("[").removesuffix("]"))
    except ValueError:
        return word[0]
    return " " * len(word[0])
