"""`vertice slo` against a Prometheus that is none, refuses, or answers nonsense, and with files of a benchmark."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.commands import command

ROW = {
    "name": "registration at a steady 500/s",
    "measured": {"count": 500, "p50_ms": 3.0, "p95_ms": 60.0, "p99_ms": 70.0, "max_ms": 80.0},
}


@contextlib.contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """Answer every request with this."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def result(*values: object) -> bytes:
    series = [{"metric": {}, "value": [1.0, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b'{"status": "success"}',
        b'{"status": "success", "data": {"result": [{}]}}',
        b'{"status": "success", "data": {"result": 7}}',
        result("seven"),
        result(None),
        b"[" * 50_000,
    ],
)
def test_an_answer_that_no_prometheus_gives_fails(body: bytes) -> None:
    with answering(body) as at:
        done = command("slo", "--prometheus", at)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"vertice: http://{at} answers, but is not a Prometheus\n"


def test_a_refusal_is_told_in_its_own_words_without_control_characters() -> None:
    said = json.dumps({"status": "error", "error": "too many samples\x1b]0;title\x07\n"}).encode()
    with answering(said, 422) as at:
        done = command("slo", "--prometheus", at)
    assert done.returncode == 1
    assert "refuses a query: too many samples" in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_prometheus_that_knows_nothing_meets_nothing() -> None:
    with answering(result()) as at:
        done = command("slo", "--prometheus", at, "--window", "30m", "-o", "json")
    assert done.returncode == 0
    assert {level["verdict"] for level in json.loads(done.stdout)["levels"]} == {"unknown"}


def test_numbers_that_are_none_meet_nothing() -> None:
    for number in ("NaN", "+Inf"):
        with answering(result(number)) as at:
            done = command("slo", "--prometheus", at)
        assert done.returncode == 0
        assert "0 met, 0 missed" in done.stdout


def test_a_file_of_the_benchmark_decides_what_it_measures(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"rows": [ROW]}))
    done = command("slo", "--bench", file)
    assert done.returncode == 1, "p95 was missed"
    assert "2 met, 1 missed" in done.stdout
    done = command("slo", "--bench", file, "--json")
    assert json.loads(done.stdout)["missed"] == ["registration_p95"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one of --prometheus --bench is missing"),
        (("--prometheus", "a b"), "--prometheus"),
        (("--prometheus", "h:9090", "--window", "7 days"), "--window"),
        (("--prometheus", "h:9090", "--window", "99999h"), "longer than 90 days"),
        (("--bench", "run.json", "--window", "1h"), "--window cannot be combined with --bench"),
        (("--bench", "run.json", "--prometheus", "h:9090"), "cannot be combined"),
        (("--bench", "missing.json"), "cannot be read"),
        (("--bench", "wrong.json"), "not a file of `make bench`"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "wrong.json").write_text("{}")
    (tmp_path / "run.json").write_text("{}")
    done = command("slo", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
