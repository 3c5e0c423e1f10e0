"""Real programs with streams that are full, closed, gone or not UTF-8: commands end as documented, servers serve."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.beside import http_server
from tests.fleets import EXAMPLE
from tests.programs import ROOT, VERTICE, free_port, wait_until

pytestmark = pytest.mark.long
# No UTF-8 anywhere, as in a container without a locale before Python 3.7.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FAMOUS = "services:\n  café: {image: x, expose: [9000]}\n  web: {image: x, expose: [8000], environment: {A: 'é'}}\n"


def shell(script: str, *words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script of bash, in which "$@" is the program with these words."""
    argv = ["bash", "-c", script, "bash", *VERTICE, *words]
    wanted = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(argv, cwd=cwd, env=wanted, capture_output=True, timeout=60, check=False)


class _Agent(http.server.BaseHTTPRequestHandler):
    """Answers any question with many names of services."""

    body = json.dumps([f"service-{n}" for n in range(50_000)]).encode()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def agent() -> Iterator[str]:
    with http_server(_Agent) as port:
        yield f"127.0.0.1:{port}"


def test_a_reader_that_has_what_it_wanted_is_no_failure(agent: str) -> None:
    done = shell('set -o pipefail; "$@" | head -1', "services", "-o", "names", "--agent", agent)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"service-0\n", b"")


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ('"$@" > /dev/full', 1, "vertice: standard output cannot be written: No space left on device\n"),
        ('"$@" >&-', 1, "vertice: standard output is closed\n"),
        ('"$@" >&- <&-', 1, "vertice: standard output is closed\n"),
        ('"$@" > /dev/null 2>&-', 0, ""),
        ('"$@" > /dev/full 2> /dev/full', 1, ""),
        ('"$@" >&- 2>&- <&-', 1, ""),
    ],
)
def test_a_command_that_cannot_print_says_so_in_one_line(agent: str, script: str, code: int, said: str) -> None:
    done = shell(script, "services", "--agent", agent)
    assert (done.returncode, done.stderr.decode(), done.stdout) == (code, said, b"")


@pytest.mark.parametrize("environment", [C_LOCALE, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "koi8-r"}])
def test_a_terminal_without_utf_8_gets_everything_escaped(tmp_path: Path, environment: Mapping[str, str]) -> None:
    encoding = environment.get("PYTHONIOENCODING", "ascii")
    (tmp_path / "café.yml").write_text(FAMOUS, encoding="utf-8")
    done = shell('"$@"', "compose", "audit", "café.yml", cwd=tmp_path, **environment)
    assert b"Traceback" not in done.stderr
    assert "caf\\xe9" in done.stdout.decode(encoding)
    missing = shell('"$@"', "compose", "audit", "où.yml", cwd=tmp_path, **environment)
    assert (missing.returncode, missing.stdout) == (2, b"")
    assert missing.stderr.decode(encoding).startswith("vertice: o\\")


def test_a_file_on_standard_output_is_utf_8_on_any_terminal(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(FAMOUS, encoding="utf-8")
    words = ("compose", "inject", "compose.yml", "--diff")
    expected = shell('"$@"', *words, cwd=tmp_path).stdout
    assert "é".encode() in expected
    assert shell('"$@"', *words, cwd=tmp_path, PYTHONIOENCODING="ascii").stdout == expected


@contextlib.contextmanager
def server(script: str, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = ["bash", "-c", f"exec {script}", "bash", *VERTICE, *words]
    started = {**os.environ, **environment}
    with subprocess.Popen(argv, cwd=ROOT, env=started, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("script", ['"$@" > /dev/full 2>&1', '"$@" >&- 2>&- <&-'])
@pytest.mark.parametrize("program", ["registry", "agent"])
def test_a_server_that_cannot_print_or_log_serves_all_the_same(program: str, script: str) -> None:
    port = free_port()
    settings = {
        "REGISTRY_LISTEN": f"127.0.0.1:{port}",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "REGISTRY_URL": "http://127.0.0.1:9",
    }
    wanted = {"registry": ("REGISTRY_LISTEN",), "agent": ("AGENT_HTTP_LISTEN", "AGENT_DNS_LISTEN", "REGISTRY_URL")}
    with server(script, program, **{name: settings[name] for name in wanted[program]}) as process:

        def lives() -> bool:
            assert process.poll() is None
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=5) as said,
            ):
                return bool(said.status == 200)
            return False

        wait_until(lives, f"the {program} serves", timeout_s=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_fault_of_the_program_is_one_line_and_its_place_is_shown_on_request(tmp_path: Path) -> None:
    (tmp_path / "fault.py").write_text(
        "import cli.commands.services\n"
        "def run(arguments): raise ValueError('odd\\nthing')\n"
        "cli.commands.services.run = run\n"
        "import cli.main, sys\n"
        "sys.exit(cli.main.main())\n"
    )
    argv = [sys.executable, str(tmp_path / "fault.py"), "services"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    said = "vertice: this is a fault of the program: ValueError: odd thing (PYTHONDEVMODE=1 shows where it is)\n"
    assert (done.returncode, done.stderr) == (1, said)
    shown = {**environment, "PYTHONDEVMODE": "1"}
    done = subprocess.run(argv, env=shown, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_check_that_fails_is_no_failure_of_its_reader() -> None:
    done = shell('"$@" | head -1', "compose", "audit", str(EXAMPLE))
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1
