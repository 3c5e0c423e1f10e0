"""The gateway: HAProxy follows the instances of a service through its agent, and no request fails meanwhile."""

from __future__ import annotations

import collections
import http.client
import threading
import time
from collections.abc import Callable
from typing import Self

import pytest

from tests.compose.topology import TAG, instances, running
from tests.programs import free_port, wait_until
from tools.engine import ROOT, Engine

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("images")]


class Callers:
    """Four clients of one service, each with one request after the other, for the duration of a `with`."""

    def __init__(self, port: int, path: str) -> None:
        self.answered: collections.Counter[str] = collections.Counter()
        self.failed: list[str] = []
        self._port = port
        self._path = path
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def seen_lately(self, for_s: float = 1.5) -> set[str]:
        """Return which instances answer over some time from now on."""
        before = self.answered.copy()
        time.sleep(for_s)
        return set(self.answered - before)

    def _call(self) -> None:
        while not self._over.wait(0.01):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read().decode().strip()
                if answer.status == 200:
                    self.answered[body.removeprefix("hello from ")] += 1
                else:
                    self.failed.append(f"{answer.status} {body}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()


def got(port: int, path: str) -> tuple[int, str]:
    """Return status and body of one request, or 0."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def haproxy_image(engine: Engine) -> dict[str, str]:
    """Return the settings with which the gateway finds its image."""
    if engine.is_docker:
        return {}
    engine.build(ROOT / "tests/compose/haproxy.Dockerfile", f"vertice-test-haproxy:{TAG}", context=ROOT / "compose")
    return {"HAPROXY_IMAGE": f"vertice-test-haproxy:{TAG}"}


def test_instances_come_drain_and_die_behind_the_gateway_without_a_failed_request(
    engine: Engine, measured: Callable[[str], None]
) -> None:
    port = free_port()
    first = ("registry", "gateway", "gateway-agent", "web-1-agent", "web-2-agent", "shop-1-agent")
    with running(engine, "gateway.yml", *first, GATEWAY_PORT=str(port), **haproxy_image(engine)) as fleet:

        def name(service: str) -> str:
            return str(engine.inspect(fleet.container(service))["Config"]["Hostname"])

        wait_until(lambda: got(port, "/web/")[0] == 200, "the gateway finds the service", timeout_s=30)
        wait_until(lambda: got(port, "/shop/") == (200, f"hello from {name('shop-1')}"), "and the other", timeout_s=30)
        assert got(port, "/nothing/")[0] == 404
        pid = engine.inspect(fleet.container("gateway"))["State"]["Pid"]

        def registered() -> list[str]:
            return list(instances(f"{fleet.address('registry')}:8888", "web").values())

        wait_until(lambda: registered() == ["passing"] * 2, "two are registered")
        time.sleep(2)

        with Callers(port, "/web/") as callers:
            assert callers.seen_lately() == {name("web-1"), name("web-2")}

            began = time.monotonic()
            fleet.up("web-3-agent")
            wait_until(lambda: callers.answered[name("web-3")] > 0, "a new instance gets requests", timeout_s=30)
            comes_s = time.monotonic() - began

            # Its agent drains it, and then it may end.
            began = time.monotonic()
            drained = name("web-1")
            fleet.command("stop", "web-1-agent", "-t", "15")
            drains_s = time.monotonic() - began
            assert drained not in callers.seen_lately()
            fleet.command("stop", "web-1", "-t", "5")
            assert callers.seen_lately() == {name("web-2"), name("web-3")}

            # What the gateway knows does not depend on the agent or the registry being up.
            fleet.command("kill", "registry")
            fleet.command("restart", "gateway-agent", "-t", "5")
            assert callers.seen_lately() == {name("web-2"), name("web-3")}
            fleet.command("start", "registry")
            wait_until(lambda: registered() == ["passing"] * 2, "agents register again", timeout_s=30)

            # One dies without deregistering.
            fleet.command("kill", "web-2")
            assert callers.seen_lately(3) == {name("web-3")}

        assert callers.failed == []
        assert engine.inspect(fleet.container("gateway"))["State"]["Pid"] == pid
        measured(
            f"gateway: {callers.answered.total()} requests, {len(callers.failed)} failed; a new instance gets requests "
            f"{comes_s:.1f} s after its `up`, a drain takes {drains_s:.1f} s"
        )
