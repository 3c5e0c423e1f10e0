"""Replicas and agents of two releases on one Redis, and a load that knows what must exist in the end."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.previous import Release
from tests.programs import Program, free_port, wait_until

# What one replica has acknowledged shows at the other within a second; the rest is for a busy machine.
SEEN_S: Final = 3.0
# A write that a replica cannot take is retried, here or at the other one, as an agent does.
TAKEN_S: Final = 15.0
# Longer than a test, so that instances that are only looked up need no renewal.
LEASE_S: Final = "600"
SEQUENCE: Final = "X-Registry-Sequence"
# Held while a replica of the previous release starts: it may miss for ever an event from the very moment in which
# it has read everything, and the next release cannot repair that.
QUIET: Final = threading.Lock()
# No answer, or one from a replica that knows nothing: the other replica is tried.
_ELSEWHERE: Final = (0, 503)


def ask(port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """Return status and body of an answer; the status is 0 when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


class Place:
    """A program at its own port, which runs either release, one after the other."""

    def __init__(self, folder: Path, name: str, words: Sequence[str], settings: Mapping[str, str], port: int) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.release = ""
        self._log = folder / f"{name}.log"
        self._words = list(words)
        self._settings = dict(settings)
        self._program: Program | None = None

    def start(self, release: Release) -> None:
        """Start it as that release, and wait until it is ready."""
        self.stop()
        self._program = Program([*release.vertice, *self._words], self._log, self._settings)
        wait_until(self._is_ready, f"{self.name}, {release.name}, is ready", timeout_s=40)
        self.release = release.name

    def stop(self) -> None:
        """Stop it gently. It must end by itself with exit code 0."""
        self.release = ""
        if self._program is not None and self._program.process.poll() is None:
            assert self._program.stop(timeout_s=20) == 0, self._program.output()[-2000:]

    def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        assert self._program is not None
        self._program.signal(signal.SIGKILL)
        self._program.process.wait(10)

    def _is_ready(self) -> bool:
        assert self._program is not None
        assert self._program.process.poll() is None, self._program.output()[-2000:]
        return bool(ask(self.port, "GET", "/ready")[0] == 200)

    def complaints(self) -> list[str]:
        """Return the errors that it has logged."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [json.dumps(line) for line in lines if line["level"] in ("error", "critical")]


def replica(folder: Path, name: str, store: str, more: Mapping[str, str] | None = None) -> Place:
    """Return a replica that keeps its registrations in `store`; it is not started."""
    settings = {"REGISTRY_STORE": store, "REGISTRY_WARMING": "0", "REGISTRY_LEASE_TTL": LEASE_S, **(more or {})}
    return Place(folder, name, ["registry", "--listen", f"127.0.0.1:{(port := free_port())}"], settings, port)


def agent(folder: Path, name: str, registries: Sequence[Place], settings: Mapping[str, str] | None = None) -> Place:
    """Return an agent that knows these registries; it is not started."""
    port = free_port()
    own = {
        "REGISTRY_URL": ",".join(one.url for one in registries),
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DNS_FORWARD": "none",
        "AGENT_CHECK": "none",
        "AGENT_DRAIN_WAIT": "0",
        "HEARTBEAT_INTERVAL": "1",
        "AGENT_STATE_DIR": str(folder / f"{name}-state"),
        **(settings or {}),
    }
    return Place(folder, name, ["agent"], own, port)


class Writer:
    """Writes through one replica, or through the other when that one is down, and checks the result at both.

    It is the only owner of its instances, so that it knows what must exist.
    """

    def __init__(self, number: int, at: Sequence[Place], seed: int) -> None:
        self.expected: dict[str, str | None] = {}  # the status of each of its services, or None when it is deregistered
        self.acknowledged = 0
        self.slowest_s = 0.0  # from an acknowledgement until the other replica shows it
        self.broken: list[str] = []
        self._at = at
        self._number = number
        self._random = random.Random(seed + number)
        self._sequence = itertools.count(1)

    def see_at(self, at: Sequence[Place]) -> None:
        """Write to and check these from now on."""
        self._at = at

    def work(self) -> None:
        """Do one operation, and wait until every replica shows it."""
        known = [service for service, status in self.expected.items() if status is not None]
        deed = self._random.choices(["register", "status", "deregister", "beat"], [4, 4, 1, 2])[0]
        if deed == "register" or not known:
            gone = [service for service, status in self.expected.items() if status is None]
            back = bool(gone) and self._random.random() < 0.3
            self._register(self._random.choice(gone) if back else f"s{self._number}_{len(self.expected)}")
            return
        service = self._random.choice(known)
        match deed:
            case "status":
                status = self._random.choice(["passing", "warning", "critical", "draining", "maintenance"])
                self._send("PUT", f"/status/{service}/{service}", {"status": status, "epoch": 1})
                self._expect(service, status)
            case "deregister":
                self._send("DELETE", f"/deregister/{service}/{service}?epoch=1")
                self._expect(service, None)
            case _:
                beat = {"service_name": service, "instance_id": service, "epoch": 1}
                answer = self._send("POST", "/heartbeat", {"instances": [beat]})
                if answer["status"] != "renewed":
                    self.broken.append(f"a heartbeat of {service} was answered with {answer}")

    def _register(self, service: str) -> None:
        number = int(service.partition("_")[2])
        host = f"10.{self._number + 1}.{number // 250}.{number % 250 + 1}"
        body = {"service_name": service, "instance_id": service, "host": host, "port": 8034, "epoch": 1}
        self._send("POST", "/register", body)
        self._expect(service, "passing")

    def _send(self, method: str, path: str, body: object = None) -> Any:
        """Get one write acknowledged, by any replica that takes it; return the answer."""
        ends = time.monotonic() + TAKEN_S
        for place in itertools.cycle(self._at):
            status, answer = ask(place.port, method, path, body, {SEQUENCE: str(next(self._sequence))})
            if status in (200, 201):
                self.acknowledged += 1
                return answer
            # The first try may have succeeded before its answer was lost: then the instance is gone, as it should be.
            if method == "DELETE" and status == 404:
                return answer
            if status not in _ELSEWHERE or time.monotonic() > ends:
                raise AssertionError(f"{method} {path}: {place.release} {place.name} answers {status} {answer}")
            time.sleep(0.05)
        raise AssertionError("there is no replica")

    def _expect(self, service: str, status: str | None) -> None:
        self.expected[service] = status
        began = time.monotonic()
        unseen = list(self._at)
        while unseen:
            unseen = [place for place in unseen if not self._shows(place, service, status)]
            took_s = time.monotonic() - began
            if unseen and took_s > SEEN_S:
                names = [f"{place.release} {place.name}" for place in unseen]
                self.broken.append(f"{service} is not {status} at {names} after {took_s:.1f} s")
                return
            time.sleep(0.005 if unseen else 0)
            self.slowest_s = max(self.slowest_s, took_s)

    def _shows(self, place: Place, service: str, status: str | None) -> bool:
        """Return whether a replica shows that state; a replica that is down need not."""
        wanted = status if status is not None else "passing"
        said, answer = ask(place.port, "GET", f"/services/{service}?status={wanted}")
        if not place.release:
            return True
        if status is None:
            return bool(said == 404)
        return bool(said == 200 and [one["status"] for one in answer["instances"]] == [status])


class Reader:
    """Looks up services that must exist all the time: at one place, or else at the next one."""

    def __init__(self, at: Sequence[Place], services: Sequence[str]) -> None:
        self.asked = 0
        self.broken: list[str] = []
        self._at = at
        self._services = itertools.cycle(services)

    def work(self) -> None:
        """Look one up."""
        service = next(self._services)
        said: list[str] = []
        for place in self._at:
            status, answer = ask(place.port, "GET", f"/services/{service}")
            if status == 200 and answer["instances"]:
                self.asked += 1
                return
            said.append(f"{place.release} {place.name} answers {status} {answer}")
            if status not in _ELSEWHERE:
                break  # it answers that there is no such service
        self.broken.append(f"{service}: {said}")


@contextlib.contextmanager
def going_on(*workers: Writer | Reader) -> Iterator[None]:
    """Let each of them work, in its own thread, for the duration of a `with`."""
    ended = threading.Event()

    def run(worker: Writer | Reader) -> None:
        while not ended.wait(0.01):
            try:
                with QUIET if isinstance(worker, Writer) else contextlib.nullcontext():
                    worker.work()
            except AssertionError as error:
                worker.broken.append(str(error))
                return

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(TAKEN_S + 10)


def catalog(place: Place) -> tuple[str, dict[str, str]]:
    """Return the digest of what a replica shows, and the status of each instance."""
    status, shown = ask(place.port, "GET", "/catalog")
    assert status == 200, shown
    return shown["digest"], {one["instance_id"]: one["status"] for one in shown["instances"]}
