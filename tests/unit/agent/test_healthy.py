"""The images' health check, run as the images run it: by its path, with nothing imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

import agent.healthy
from tests.programs import free_port

STATUS = {"/live": 200, "/ready": 503}


class Face(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(STATUS[self.path])
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it overrides
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Face)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def code(path: str, *, default: str = ":1", listen: str = "") -> int:
    program = [sys.executable, "-I", "-S", str(Path(agent.healthy.__file__)), "AGENT_HTTP_LISTEN", default, path]
    return subprocess.run(program, env={"AGENT_HTTP_LISTEN": listen}, timeout=10, check=False).returncode


def test_a_program_that_answers_with_200_is_healthy(port: int) -> None:
    assert code("/live", listen=f"127.0.0.1:{port}") == 0


def test_a_program_that_listens_on_every_address_is_checked_on_loopback(port: int) -> None:
    assert code("/live", listen=f":{port}") == 0
    assert code("/live", listen=f"0.0.0.0:{port}") == 0


def test_without_the_setting_the_default_address_is_checked(port: int) -> None:
    assert code("/live", default=f"127.0.0.1:{port}") == 0


def test_another_status_is_unhealthy(port: int) -> None:
    assert code("/ready", listen=f":{port}") == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:{free}", "no.such.host.invalid:80", "nonsense"])
def test_no_answer_is_unhealthy(listen: str) -> None:
    assert code("/live", listen=listen.format(free=free_port())) == 1
