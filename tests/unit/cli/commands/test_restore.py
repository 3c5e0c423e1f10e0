"""Restoring records to a registry that is busy, down, or no registry: bounded retries, at the pace it asks for."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeAlias

import pytest

from cli.commands import restore
from cli.commands.restore import GaveUp, Tally
from registry_core.domain.restoration import RestoreOutcome
from registry_core.ports.clock import SystemClock
from registry_core.security.sending import RequestSigner, Send, SenderKeys
from registry_core.security.signing_keys import shared_key
from tests.beside import http_server
from tests.programs import free_port
from tests.samples import instance
from tests.unit.cli.commands.test_snapshot_file import record

Said: TypeAlias = tuple[int, dict[str, str], object]
RECORDS = [record(instance(port=8000 + number)) for number in range(20)]
GOOD: Said = (200, {}, {"status": "restored"})


class Registry:
    """Returns scripted answers in turn, and then the last one again; records the requests."""

    def __init__(self, *answers: Said) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, body: Any) -> Said:
        with self.lock:
            self.asked.append(body)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextlib.contextmanager
def answering(*answers: Said) -> Iterator[Registry]:
    registry = Registry(*answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with registry.lock:
                registry.at_once += 1
                registry.most_at_once = max(registry.most_at_once, registry.at_once)
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, body = registry.answer(
                {**sent, "path": self.path, "token": self.headers["X-Registry-Token"]}
            )
            with registry.lock:
                registry.at_once -= 1
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http_server(Handler) as port:
        registry.url = f"http://127.0.0.1:{port}"
        yield registry


SIGNER = RequestSigner(SenderKeys(shared_key("t"), send=Send.TOKEN), SystemClock())


def brought_back(url: str, pauses_s: tuple[float, ...] = (0.0, 0.0), *, dry_run: bool = False) -> Tally:
    return restore.restore(url, RECORDS, SIGNER, dry_run=dry_run, tell=lambda _: None, pauses_s=pauses_s)


def test_every_record_is_sent_once_and_a_few_at_a_time() -> None:
    with answering(GOOD) as registry:
        tally = brought_back(registry.url)
    assert tally.outcomes[RestoreOutcome.RESTORED] == tally.done == 20
    assert sorted(sent["port"] for sent in registry.asked) == [8000 + number for number in range(20)]
    assert registry.most_at_once <= restore.WORKERS
    assert {(sent["path"], sent["token"]) for sent in registry.asked} == {("/restore", "t")}
    assert "last_heartbeat" not in registry.asked[0]


def test_a_dry_run_is_requested_as_such() -> None:
    with answering(GOOD) as registry:
        brought_back(registry.url, dry_run=True)
    assert {sent["path"] for sent in registry.asked} == {"/restore?dry_run=true"}


def test_a_busy_registry_gets_the_pause_that_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def wait(_event: threading.Event, seconds: float = 0.0) -> bool:
        waited.append(seconds)
        return False

    busy: Said = (503, {"Retry-After": "7"}, {"message": "no master"})
    limited: Said = (429, {"Retry-After": "600"}, {"message": "slowly"})
    with answering(busy, limited, (500, {}, {}), GOOD) as registry:
        monkeypatch.setattr(restore, "WORKERS", 1)
        work = restore._Work(registry.url, RECORDS[:1], SIGNER, dry_run=False, pauses_s=(0.0, 0.0, 0.0))
        monkeypatch.setattr(work.stop, "wait", lambda seconds: wait(work.stop, seconds))
        restore._send_all(work)
    assert waited == [7.0, restore.MOST_PAUSE_S, 0.0]
    assert work.answers[0].status == 200


def test_the_restore_gives_up_after_a_number_of_tries_and_sends_nothing_more() -> None:
    with answering((503, {}, {"message": "no Redis master is known"})) as registry:
        with pytest.raises(GaveUp, match=f"{registry.url} accepts nothing at present: no Redis master is known"):
            brought_back(registry.url)
        assert len(registry.asked) <= 3 * restore.WORKERS


def test_an_unreachable_registry_is_tried_a_bounded_number_of_times() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(GaveUp, match=f"no answer from {nowhere}: Connection refused"):
        brought_back(nowhere)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {}, {"message": "the token is wrong"}), "the token is wrong"),
        ((403, {}, {"message": "it takes the shared token"}), "it takes the shared token"),
        ((404, {}, {"message": "there is no such path"}), "is it a registry, and as new as this program"),
        ((200, {}, ["a"]), "the answer is not that of a registry"),
        ((200, {}, {"status": "fine"}), "the answer is not that of a registry"),
    ],
)
def test_an_answer_that_every_record_would_get_ends_the_restore(answer: Said, said: str) -> None:
    with answering(answer) as registry, pytest.raises(GaveUp, match=said):
        brought_back(registry.url)


def test_conflicts_and_refusals_are_reported_in_file_order() -> None:
    conflict: Said = (409, {}, {"message": "somebody\nelse's"})
    with answering(conflict, conflict, conflict, (400, {}, {"message": "no such port here"}), GOOD) as registry:
        tally = brought_back(registry.url)
    assert (tally.outcomes[RestoreOutcome.RESTORED], len(tally.conflicts), len(tally.refusals)) == (16, 3, 1)
    assert tally.conflicts == sorted(tally.conflicts)
    assert all(line.endswith(": somebody else's") for line in tally.conflicts)
