"""Restores saved records to a registry: a few requests at a time, each retried until it is answered.

The registry decides whether a record is restored. A record that it cannot take at present (503 and the
like, or no answer) is retried a bounded number of times, after the pause that the registry asks for.
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

from cli.client import CommandRequest, HttpResponse, Unreachable, connect, sent_by
from cli.commands.snapshot_file import SnapshotFileRecord
from registry_core.causes import cause_of
from registry_core.domain.restoration import RestoreOutcome, what
from registry_core.errors import VerticeError
from registry_core.security.sending import RequestSigner

WORKERS: Final = 16
# Longer than a replica holds a write during a failover.
ANSWER_S: Final = 10.0
# The pauses before each retry; a registry may ask for a longer one, up to MOST_PAUSE_S.
PAUSES_S: Final = (0.2, 1.0, 2.0, 4.0, 8.0)
MOST_PAUSE_S: Final = 30.0
TELL_EVERY_S: Final = 1.0
MAX_ANSWER_BYTES: Final = 64 * 1024
_LATER: Final = frozenset({408, 429})
_NEVER: Final = 501  # a server that does not know the method


class GaveUp(VerticeError):
    """Raised when continuing is pointless: nothing answers, or no record would be accepted. One line."""


class Tally(msgspec.Struct):
    """The outcome of the records. Each refused one has a line, in file order."""

    outcomes: dict[RestoreOutcome, int]
    conflicts: list[str]
    refusals: list[str]

    @property
    def done(self) -> int:
        """The number of answered records."""
        return sum(self.outcomes.values()) + len(self.conflicts) + len(self.refusals)


class _Work:
    """The state that the workers share: the target, the records and the answers."""

    def __init__(
        self,
        url: str,
        records: Sequence[SnapshotFileRecord],
        signer: RequestSigner,
        *,
        dry_run: bool,
        pauses_s: Sequence[float],
    ) -> None:
        self.url = url
        self.path = f"{urlsplit(url).path}/restore{'?dry_run=true' if dry_run else ''}"
        self.headers = {"Content-Type": "application/json"}
        self.signer = signer
        self.pauses_s = pauses_s
        self.waiting: queue.SimpleQueue[tuple[int, SnapshotFileRecord]] = queue.SimpleQueue()
        for item in enumerate(records):
            self.waiting.put(item)
        self.answers: dict[int, HttpResponse] = {}
        self.stop = threading.Event()


def restore(
    url: str,
    records: Sequence[SnapshotFileRecord],
    signer: RequestSigner,
    *,
    dry_run: bool,
    tell: Callable[[int], None],
    pauses_s: Sequence[float] = PAUSES_S,
) -> Tally:
    """Restore `records` to the registry at `url`; calls `tell` once a second with the number done.

    With `dry_run` nothing changes. Raises GaveUp when it stops early: a part may be restored, and a rerun is safe.
    """
    work = _Work(url, records, signer, dry_run=dry_run, pauses_s=pauses_s)
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            workers = [pool.submit(_send_all, work) for _ in range(WORKERS)]
            while wait(workers, timeout=TELL_EVERY_S).not_done:
                tell(len(work.answers))
            for worker in workers:
                worker.result()
        finally:
            work.stop.set()  # on Ctrl-C, or when one gave up, the others stop after their current request
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
    """Return the answer to one record, or None when the run is stopping. Raises GaveUp."""
    problem = ""

    def send(request: CommandRequest) -> HttpResponse:
        connection.request(request.method, request.target, request.body, dict(request.headers))
        response = connection.getresponse()
        return HttpResponse(response.status, response.headers, response.read(MAX_ANSWER_BYTES))

    for pause_s in (*work.pauses_s, None):
        asked_s = 0.0
        try:
            answer = sent_by(work.signer, CommandRequest(work.url, "POST", work.path, work.headers, body), send)
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # it reopens automatically
            problem = f"no answer from {work.url}: {cause_of(error)}"
        else:
            if answer.status not in _LATER and (answer.status < 500 or answer.status == _NEVER):
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
    """Raise GaveUp for an answer that every other record would get too."""
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
