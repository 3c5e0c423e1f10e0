"""A small steady load on a gateway, which remembers which instance answered each request, when, and what failed."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

CLIENTS: Final = 4
PAUSE_S: Final = 0.02
TIMEOUT_S: Final = 10.0


@dataclass(slots=True)
class Load:
    """What became of the requests so far. Each has its own connection and is sent once."""

    port: int
    last: dict[str, float] = field(default_factory=dict)  # by instance: when it answered last
    answered: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def ask(self) -> None:
        """Send one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/web/")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                self.failed.append(f"{answer.status} {body[:60]!r}")
                return
            instance = json.loads(body)["instance"]
            self.answered[instance] += 1
            self.last[instance] = time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(repr(error))
        finally:
            connection.close()

    def asked(self) -> int:
        """Return how many requests have ended."""
        return self.answered.total() + len(self.failed)

    # -- what is measured

    def used_after_s(self, instance: str, began: float, limit_s: float) -> float:
        """Wait until an instance answers a request; return the seconds since `began`."""
        while self.last.get(instance, 0.0) <= began:
            if time.monotonic() > began + limit_s:
                raise TimeoutError(f"{instance} has answered nothing in {limit_s} s")
            time.sleep(0.01)
        return self.last[instance] - began

    def left_after_s(self, instance: str, began: float, quiet_s: float, limit_s: float) -> float | None:
        """Wait until an instance has answered nothing for a while; return when it last did, None if it always does."""
        while time.monotonic() - max(began, self.last.get(instance, 0.0)) < quiet_s:
            if time.monotonic() > began + limit_s:
                return None
            time.sleep(0.05)
        return max(0.0, self.last.get(instance, 0.0) - began)


@contextlib.contextmanager
def load(port: int) -> Iterator[Load]:
    """Send requests for the duration of a `with`."""
    running, over = Load(port), threading.Event()

    def client() -> None:
        while not over.wait(PAUSE_S):
            running.ask()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        over.set()
        for thread in threads:
            thread.join()
