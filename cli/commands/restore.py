"""Brings saved records back to a registry: a few requests at a time, each until it is answered.

Nothing here decides whether a record is brought back; the registry does. What it cannot take at present
(503 and its kin, or no answer) is sent again after the time that it asks for, a bounded number of times.
"""

from __future__ import annotations

import http.client
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final
from urllib.parse import urlsplit

import msgspec

from cli.client import HttpResponse, Unreachable, connect, reason
from cli.commands.snapshot_file import SnapshotFileRecord
from registry_core.domain.restoration import RestoreOutcome, what
from registry_core.errors import VerticeError

WORKERS: Final = 16
# Longer than a replica holds a write that meets a failover.
ANSWER_S: Final = 10.0
# The pauses before each further try; a registry that names a longer one is given it, up to MOST_PAUSE_S.
PAUSES_S: Final = (0.2, 1.0, 2.0, 4.0, 8.0)
MOST_PAUSE_S: Final = 30.0
TELL_EVERY_S: Final = 1.0
MAX_ANSWER_BYTES: Final = 64 * 1024
_LATER: Final = frozenset({408, 429})


class GaveUp(VerticeError):
    """Raised when going on makes no sense: nobody answers, or nothing would be taken. One line."""


class Tally(msgspec.Struct):
    """What became of the records. What is refused is told by a line each, in the order of the file."""

    outcomes: dict[RestoreOutcome, int]
    conflicts: list[str]
    refusals: list[str]

    @property
    def done(self) -> int:
        """How many records were answered."""
        return sum(self.outcomes.values()) + len(self.conflicts) + len(self.refusals)


class _Work:
    """What the workers share: where to, what, and what was answered."""

    def __init__(
        self,
        url: str,
        records: Sequence[SnapshotFileRecord],
        headers: Mapping[str, str],
        *,
        dry_run: bool,
        pauses_s: Sequence[float],
    ) -> None:
        self.url = url
        self.path = f"{urlsplit(url).path}/restore{'?dry_run=true' if dry_run else ''}"
        self.headers = {"Content-Type": "application/json", **headers}
        self.pauses_s = pauses_s
        self.waiting: queue.SimpleQueue[tuple[int, SnapshotFileRecord]] = queue.SimpleQueue()
        for item in enumerate(records):
            self.waiting.put(item)
        self.answers: dict[int, HttpResponse] = {}
        self.stop = threading.Event()


def restore(
    url: str,
    records: Sequence[SnapshotFileRecord],
    headers: Mapping[str, str],
    *,
    dry_run: bool,
    tell: Callable[[int], None],
    pauses_s: Sequence[float] = PAUSES_S,
) -> Tally:
    """Bring `records` back to the registry at `url`; `tell` hears once a second how many are done.

    With `dry_run` nothing is changed. Raises GaveUp, after which a part was brought back; doing it again is safe.
    """
    work = _Work(url, records, headers, dry_run=dry_run, pauses_s=pauses_s)
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            workers = [pool.submit(_send_all, work) for _ in range(WORKERS)]
            while wait(workers, timeout=TELL_EVERY_S).not_done:
                tell(len(work.answers))
            for worker in workers:
                worker.result()
        finally:
            work.stop.set()  # Ctrl-C, or one that gave up: the others end after the request that they are at
    return _tally(records, work.answers)


def _send_all(work: _Work) -> None:
    connection = connect(work.url, ANSWER_S)
    try:
        while not work.stop.is_set():
            try:
                number, record = work.waiting.get_nowait()
            except queue.Empty:
                return
            answer = _send(work, connection, msgspec.json.encode(record.body))
            if answer is None:
                return
            work.answers[number] = answer
    except BaseException:
        work.stop.set()
        raise
    finally:
        connection.close()


def _send(work: _Work, connection: http.client.HTTPConnection, body: bytes) -> HttpResponse | None:
    """Return the answer to one record, or None when everything is to stop. Raises GaveUp."""
    problem = ""
    for pause_s in (*work.pauses_s, None):
        asked_s = 0.0
        try:
            connection.request("POST", work.path, body, work.headers)
            response = connection.getresponse()
            answer = HttpResponse(response.status, response.headers, response.read(MAX_ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # it opens anew by itself
            problem = f"no answer from {work.url}: {reason(error)}"
        else:
            if answer.status < 500 and answer.status not in _LATER:
                _check(answer, work.url)
                return answer
            problem = f"{work.url} accepts nothing at present: {answer.message}"
            given = answer.headers.get("Retry-After", "")
            asked_s = float(given) if given.isascii() and given.isdigit() else 0.0
        if pause_s is None:
            break
        if work.stop.wait(min(max(pause_s, asked_s), MOST_PAUSE_S)):
            return None
    raise GaveUp(problem)


def _check(answer: HttpResponse, url: str) -> None:
    """Raises GaveUp for what the next record would be answered, too."""
    if answer.status in (401, 403):
        raise GaveUp(answer.message)
    if answer.status not in (200, 400, 409, 413):
        raise GaveUp(f"{url} accepts no snapshots: is it a registry, and as new as this program? ({answer.message})")


def _tally(records: Sequence[SnapshotFileRecord], answers: Mapping[int, HttpResponse]) -> Tally:
    tally = Tally(dict.fromkeys(RestoreOutcome, 0), [], [])
    for number in sorted(answers):
        answer, called = answers[number], what(records[number].instance)
        if answer.status == 200:
            try:
                tally.outcomes[RestoreOutcome(answer.json()["status"])] += 1
            except (Unreachable, KeyError, TypeError, ValueError):
                raise GaveUp("the answer is not that of a registry") from None
        elif answer.status == 409:
            tally.conflicts.append(f"{called}: {answer.message}")
        else:
            tally.refusals.append(f"{called}: {answer.message}")
    return tally
