"""The networks that other tests partition are cut, healed and removed as promised."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.networks import Networks, networks, why_not
from tests.programs import Program, find, running, wait_until

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"NOT PROVEN HERE: {WHY_NOT}")

PORT = 5300
# Prints what it receives, and sends it back.
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", {port}))
print("ready", flush=True)
while True:
    word, asker = s.recvfrom(100)
    print(word.decode(), flush=True)
    s.sendto(word, asker)
"""
# Sends a word, and succeeds when it comes back.
ASK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
s.sendto(b"{word}", ("{host}", {port}))
s.recvfrom(100)
"""


@pytest.fixture
def both() -> Iterator[Networks]:
    with networks() as built:
        yield built


@pytest.fixture
def echo(both: Networks, tmp_path: Path) -> Iterator[Program]:
    """Run an echo in the majority's network."""
    argv = [*both.majority.within, sys.executable, "-c", ECHO.format(port=PORT)]
    with running(argv, tmp_path / "echo.log") as program:
        wait_until(lambda: "ready" in program.output(), "the echo listens")
        yield program


def hears_back(both: Networks, word: str) -> bool:
    """Send a word from the minority's network to the echo; return whether it came back."""
    asking = ASK.format(word=word, host=both.majority.host, port=PORT)
    argv = [*both.minority.within, sys.executable, "-c", asking]
    return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0


def test_a_cut_drops_packets_silently_until_it_is_healed(both: Networks, echo: Program) -> None:
    assert hears_back(both, "joined")
    both.cut()
    assert not hears_back(both, "cut")
    both.heal()
    assert hears_back(both, "mended")
    assert "cut" not in echo.output().split()


def test_one_direction_can_be_cut_alone(both: Networks, echo: Program) -> None:
    both.cut(back=False)
    assert not hears_back(both, "unheard")
    both.heal()
    both.cut(out=False)
    assert not hears_back(both, "unanswered")
    assert echo.output().split() == ["ready", "unanswered"]


def test_networks_are_removed_including_those_of_a_killed_run() -> None:
    ip = find("ip")
    killed = "vertice-999999999-minor"  # no process has this id
    subprocess.run([ip, "netns", "add", killed], check=True, timeout=20)
    with networks() as built:
        mine = [place.within[-1] for place in (built.minority, built.majority)]
        there = subprocess.run([ip, "netns", "list"], capture_output=True, text=True, check=True, timeout=20).stdout
        assert all(name in there for name in mine)
        assert killed not in there
    there = subprocess.run([ip, "netns", "list"], capture_output=True, text=True, check=True, timeout=20).stdout
    assert not any(name in there for name in mine)
