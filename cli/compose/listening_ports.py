"""The ports on which a service listens, as far as its description tells, and the source of each.

Pure. Only the container's ports count: a published host port is never a port to call the service on.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from cli.compose.model import ComposeService
from cli.compose.ports import is_port

# The variables that tell a container its own listening address.
_PORT_VARIABLES: Final = frozenset(
    f"{stem}PORT"
    for stem in (
        *("", "SERVICE_", "APP_", "HTTP_", "HTTPS_", "SERVER_", "LISTEN_", "BIND_", "API_", "WEB_", "GRPC_"),
        *("METRICS_", "ADMIN_", "UVICORN_", "GUNICORN_", "FLASK_RUN_", "NGINX_", "CONTAINER_"),
    )
)
# The default ports of well-known images.
_IMAGES: Final = {
    "postgres": 5432,
    "postgresql": 5432,
    "timescaledb": 5432,
    "redis": 6379,
    "valkey": 6379,
    "mysql": 3306,
    "mariadb": 3306,
    "mongo": 27017,
    "rabbitmq": 5672,
    "memcached": 11211,
    "nats": 4222,
    "zookeeper": 2181,
    "kafka": 9092,
    "elasticsearch": 9200,
    "nginx": 80,
    "httpd": 80,
    "caddy": 80,
    "traefik": 80,
    "prometheus": 9090,
    "grafana": 3000,
    "neo4j": 7687,
    "qdrant": 6333,
    "minio": 9000,
    "vault": 8200,
    "consul": 8500,
    "etcd": 2379,
}
_NUMBER: Final = re.compile(r"\d{1,5}", re.ASCII)


class ListeningPorts(msgspec.Struct, frozen=True):
    """The ports of one service. `declared`: by `ports` and `expose`; `hinted`: by any other mention.

    `shown`: (host port, container port) for each published port known for certain. `others`: ports that are
    not TCP.
    """

    declared: tuple[range, ...]
    hinted: dict[int, str]
    shown: tuple[tuple[int, int], ...]
    main: int | None
    others: tuple[range, ...] = ()

    def is_declared(self, port: int) -> bool:
        """Return whether `ports` or `expose` has it."""
        return any(port in ports for ports in self.declared)

    @property
    def known(self) -> bool:
        """Whether anything is known about its ports."""
        return bool(self.declared or self.hinted)

    def behind(self, published: int) -> int | None:
        """Return the container's port that the host publishes as `published`."""
        return next((target for shown, target in self.shown if shown == published), None)

    @property
    def text(self) -> str:
        """The ports as text, the declared ones if there are any."""
        if self.declared:
            spans = dict.fromkeys(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in self.declared)
            return " or ".join(list(spans)[:3]) + (" or others" if len(spans) > 3 else "")
        return " or ".join(f"{port} (by {why})" for port, why in list(self.hinted.items())[:3])

    @property
    def numbers(self) -> list[int]:
        """The ports, the declared ones if there are any; of a wide range only the first ones."""
        ports = [port for ports in self.declared for port in ports[:20]] or list(self.hinted)
        return list(dict.fromkeys(ports))[:20]


def listening_of(service: ComposeService) -> ListeningPorts:
    """Return the ports on which a service listens, as far as its description tells."""
    declared = tuple(dict.fromkeys(p.targets for p in service.tcp_ports()))
    shown = tuple(pair for p in service.ports if p.protocol == "tcp" for pair in p.pairs())
    hinted: dict[int, str] = {}
    check = service.healthcheck
    if check is not None and check.port is not None and not check.disabled and is_port(check.port):
        hinted[check.port] = "its health check"
    for entry in service.environment:
        if entry.name.upper() in _PORT_VARIABLES and _NUMBER.fullmatch((entry.value or "").strip()):
            port = int(entry.value or "")
            if is_port(port):
                hinted.setdefault(port, entry.name)
    usual = _IMAGES.get(_image_name(service.image))
    if not declared and not hinted and usual is not None:
        hinted[usual] = "its image"
    main = next((port for port in hinted if any(port in d for d in declared)), None) if declared else None
    if main is None:
        main = declared[0][0] if declared else next(iter(hinted), None)
    others = tuple(p.targets for p in (*service.ports, *service.expose) if p.protocol != "tcp")
    return ListeningPorts(declared, hinted, shown, main, others)


def _image_name(image: str | None) -> str:
    return (image or "").partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def is_infrastructure(service: ComposeService) -> bool:
    """Return whether its image is a well-known infrastructure one, such as a database."""
    return _image_name(service.image) in _IMAGES
