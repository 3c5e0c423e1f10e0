"""Tells the stores and brokers of a fleet from its other services.

Pure. A store is known by its image, by the image that its own is built on, or by its health check: a program such as
`pg_isready` asks the store itself, unless it names another host.
"""

from __future__ import annotations

import re
from typing import Final

from cli.compose.images import ImageKind, well_known
from cli.compose.model import ComposeService

# With these a store's own container asks whether it is ready.
_ASKS: Final = frozenset(
    [
        *("pg_isready", "redis-cli", "valkey-cli", "keydb-cli", "mysqladmin", "mariadb-admin", "mongo", "mongosh"),
        *("cqlsh", "rabbitmqctl", "rabbitmq-diagnostics", "etcdctl", "cypher-shell", "zkServer.sh"),
        *(
            f"kafka-{tool}{ending}"
            for ending in ("", ".sh")
            for tool in (
                *("topics", "broker-api-versions", "metadata-quorum", "cluster", "configs", "consumer-groups"),
                *("console-consumer", "console-producer", "get-offsets", "storage", "acls"),
            )
        ),
    ]
)
# The client programs of stores. Those that are not above have names that other programs mention, too.
CLIENTS: Final = _ASKS | {"psql", "mysql", "mariadb", "influx", "sqlcmd", "nodetool", "clickhouse-client"}
_WORD: Final = re.compile(r"[^\s;&|()\"'`<>=$]+")
# The script of MariaDB's image has a common name, and options that nobody else's has.
_MARIADB: Final = re.compile(r"healthcheck\.sh\b.{0,500}\s--(?:connect|innodb_initialized)\b", re.DOTALL)


def is_database(service: ComposeService) -> bool:
    """Return whether a service is a store or a broker, judging by its image, its base or its health check's program."""
    base = service.built.base if service.built is not None else None
    images = (well_known(image) for image in (service.image, base))
    if any(image is not None and image.kind is ImageKind.STORE for image in images):
        return True
    check = service.healthcheck
    if check is None or check.other is not None:
        return False
    return bool(_MARIADB.search(check.text)) or any(program in _ASKS for program in programs_in(check.text))


def programs_in(command: str) -> list[str]:
    """Return the words of a command that may be programs, each without its folder."""
    return [word.rpartition("/")[2] for word in _WORD.findall(command) if "://" not in word]
