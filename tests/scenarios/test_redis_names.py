"""Redis and Sentinels by name, and a silent name server: a replica still listens, waits, and ends."""

from __future__ import annotations

import contextlib
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.name_server import NameServer, name_server, why_not
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until
from tests.redis_topology import RedisServer, redis_server, topology

CLAIM = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
REASON = "its name is not resolved: no name server answers"

if WHY_NOT := why_not():
    pytest.skip(WHY_NOT, allow_module_level=True)


@pytest.fixture
def names(tmp_path: Path) -> Iterator[NameServer]:
    with name_server(tmp_path) as server:
        yield server


class Registry:
    """A replica that resolves names only with the test's name server."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def problem(self) -> str:
        return str(self.call("GET", "/health")[1]["components"]["store"]["shards"][0]["problem"])

    def is_served(self) -> bool:
        return self.call("GET", "/services/ip_intel")[0] == 200

    def end(self) -> float:
        """Stop it with SIGTERM; return how many seconds that took."""
        began = time.monotonic()
        self.program.signal(signal.SIGTERM)
        assert self.program.process.wait(20) == 0, self.program.output()
        return time.monotonic() - began


@contextlib.contextmanager
def registry(names: NameServer, folder: Path, store: str) -> Iterator[Registry]:
    """Run a replica for the duration of a `with`; it has started to listen."""
    port = free_port()
    argv = [*names.within, *VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    with running(argv, folder / "registry.log", {"REGISTRY_STORE": store, "REGISTRY_WARMING": "0"}) as program:
        # Most of it is the start of Python; a silent name server once took 20 s per name, and nothing was served.
        wait_until(lambda: accepts(port), "it listens", timeout_s=15)
        yield Registry(program, port)


@pytest.mark.parametrize(
    "store",
    [
        "redis://redis.test:6379",
        # More names than uvloop has threads for.
        "redis+sentinel://s1.test,s2.test,s3.test,s4.test,s5.test/?masters=a,b",
    ],
)
def test_a_replica_that_cannot_resolve_its_store_listens_reports_it_and_ends(
    names: NameServer, tmp_path: Path, store: str
) -> None:
    names.silent = True
    with registry(names, tmp_path, store) as replica:
        assert replica.call("GET", "/live")[0] == 200
        assert replica.call("GET", "/ready") == (503, {"status": "starting", "state": "warming"})
        for method, path, body in (
            ("GET", "/services", None),
            ("GET", "/services/ip_intel", None),
            ("GET", "/catalog", None),
            ("POST", "/register", CLAIM),
            ("POST", "/heartbeat", {"service_name": "ip_intel"}),
            ("DELETE", "/deregister/ip_intel", None),
        ):
            status, said = replica.call(method, path, body)
            assert (status, said["error"]) == (503, "Warming"), path
        with urllib.request.urlopen(f"{replica.url}/watch", timeout=10) as watch:
            line = json.loads(watch.readline())
            assert (line["type"], line["state"], line["instances"]) == ("snapshot", "warming", [])
        wait_until(lambda: REASON in replica.problem(), "it says why")
        wait_until(lambda: REASON in replica.program.output(), "and logs it")
        assert replica.end() < 5
        assert "Traceback" not in replica.program.output()
    assert names.asked


def test_a_replica_ends_on_request_while_it_looks_for_its_store(names: NameServer, tmp_path: Path) -> None:
    names.silent = True
    with registry(names, tmp_path, "redis+sentinel://s1.test,s2.test,s3.test/?masters=a,b,c") as replica:
        assert replica.end() < 5
        assert "replica started" not in replica.program.output(), "it was still looking"


def test_a_replica_finds_its_store_as_soon_as_names_are_resolved_again(names: NameServer, tmp_path: Path) -> None:
    names.silent = True
    names.hosts["redis.test"] = "127.0.0.1"
    with (
        redis_server(tmp_path / "redis") as redis,
        registry(names, tmp_path, f"redis://redis.test:{redis.port}") as replica,
    ):
        wait_until(lambda: bool(names.asked), "it asks")
        assert replica.call("GET", "/services")[0] == 503
        names.silent = False
        wait_until(lambda: replica.call("GET", "/ready")[0] == 200, "it has read its store", timeout_s=30)
        assert replica.call("POST", "/register", CLAIM)[0] == 201
        assert replica.is_served()


def gone_and_back(redis: RedisServer, replica: Registry) -> None:
    """Restart a Redis, so that every connection to it must be made again."""
    redis.stop()
    wait_until(lambda: replica.problem() != "", "it is missed")
    redis.start()


def test_a_silent_name_server_does_not_affect_a_store_with_a_known_address(names: NameServer, tmp_path: Path) -> None:
    names.hosts["redis.test"] = "127.0.0.1"
    with (
        redis_server(tmp_path / "redis") as redis,
        registry(names, tmp_path, f"redis://redis.test:{redis.port}") as replica,
    ):
        assert replica.call("POST", "/register", CLAIM)[0] == 201
        names.silent = True
        gone_and_back(redis, replica)
        wait_until(lambda: replica.problem() == "", "it is found at its last known address", timeout_s=30)
        assert replica.call("POST", "/register", CLAIM)[0] == 201
        assert replica.is_served()
        assert replica.end() < 5


def test_a_store_that_moved_is_found_at_its_names_new_address(names: NameServer, tmp_path: Path) -> None:
    names.hosts["redis.test"] = "127.0.0.99"  # nothing listens there
    with (
        redis_server(tmp_path / "redis") as redis,
        registry(names, tmp_path, f"redis://redis.test:{redis.port}") as replica,
    ):
        wait_until(lambda: "refused" in replica.problem() or "Connect call" in replica.problem(), "nobody is there")
        names.hosts["redis.test"] = "127.0.0.1"
        wait_until(lambda: replica.call("GET", "/ready")[0] == 200, "it is found", timeout_s=30)


def test_a_failover_succeeds_while_the_sentinels_names_do_not_resolve(names: NameServer, tmp_path: Path) -> None:
    with topology(tmp_path / "redis") as whole:
        names.hosts |= {f"s{number}.test": "127.0.0.1" for number in range(3)}
        at = ",".join(f"s{number}.test:{sentinel.port}" for number, sentinel in enumerate(whole.sentinels))
        with registry(names, tmp_path, f"redis+sentinel://{at}/?masters=a") as replica:
            assert replica.call("POST", "/register", CLAIM)[0] == 201
            names.silent = True
            whole.node_at(replica.call("GET", "/health")[1]["components"]["store"]["shards"][0]["master"]).kill()
            wait_until(lambda: replica.call("POST", "/register", CLAIM)[0] == 201, "the failover is over", timeout_s=30)
            assert replica.end() < 5
