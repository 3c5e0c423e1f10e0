"""Two networks on this machine that can be partitioned: network namespaces, joined by one cable.

Programs on one side reach those on the other side only over the cable. Each direction of it can be cut silently:
packets are lost, and nobody is notified. The tests reach both sides over separate cables, which are never cut and
lead nowhere else. It needs root and `ip`.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.programs import find

_PREFIX: Final = "vertice"
# From the block for network tests (RFC 2544); the third octet is ours while we run.
_NET: Final = "198.18"
# Belongs to no interface: a frame sent to it arrives and is dropped, as if it were lost.
_NOBODY: Final = "02:00:00:00:00:99"


class Place(NamedTuple):
    """Where a program runs: directly on this machine, or on one side of the cable."""

    host: str = "127.0.0.1"  # where the other programs reach it
    control: str = "127.0.0.1"  # where the tests reach it
    within: tuple[str, ...] = ()  # the start of its command line


HERE: Final = Place()


def _ip(*words: str) -> str:
    done = subprocess.run([find("ip"), *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class _Side:
    """One network namespace, with an end of the cable and an end of its cable to the tests."""

    def __init__(self, name: str, net: int, number: int) -> None:
        self.namespace = f"{_PREFIX}-{os.getpid()}-{name}"
        self.cable = f"vt{net}{name}"
        self.mac = f"02:00:00:00:00:0{number}"
        self.place = Place(
            host=f"{_NET}.{net}.{number}",
            control=f"{_NET}.{net}.{4 * number + 2}",
            within=(find("ip"), "netns", "exec", self.namespace),
        )

    def inside(self, *words: str) -> None:
        _ip("-n", self.namespace, *words)

    def open(self) -> None:
        _ip("netns", "add", self.namespace)
        self.inside("link", "set", "lo", "up")
        # Its own /30: the tests at one end, the namespace at the other.
        _ip("link", "add", self.cable, "type", "veth", "peer", "name", "control", "netns", self.namespace)
        tests_end = self.place.control.rpartition(".")
        _ip("address", "add", f"{tests_end[0]}.{int(tests_end[2]) - 1}/30", "dev", self.cable)
        _ip("link", "set", self.cable, "up")
        self.inside("address", "add", f"{self.place.control}/30", "dev", "control")
        self.inside("link", "set", "control", "up")

    def reach(self, other: _Side, mac: str) -> None:
        """Send packets for the other side to that MAC address."""
        self.inside("neighbour", "replace", other.place.host, "lladdr", mac, "dev", "cable", "nud", "permanent")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it was never created
            _ip("netns", "delete", self.namespace)
        with contextlib.suppress(OSError):  # it went with its other end
            _ip("link", "delete", self.cable)


class Networks:
    """The networks of the minority and the majority."""

    def __init__(self) -> None:
        net = _free_net()
        self._minority, self._majority = _Side("minor", net, 1), _Side("major", net, 2)

    @property
    def minority(self) -> Place:
        return self._minority.place

    @property
    def majority(self) -> Place:
        return self._majority.place

    def open(self) -> None:
        """Create both, and the cable between them."""
        one, other = self._minority, self._majority
        for side in (one, other):
            side.open()
        one.inside("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", other.namespace)
        for side in (one, other):
            side.inside("link", "set", "cable", "address", side.mac)
            side.inside("address", "add", f"{side.place.host}/30", "dev", "cable")
            side.inside("link", "set", "cable", "up")
        self.heal()

    def cut(self, *, out: bool = True, back: bool = True) -> None:
        """Drop what the minority sends (`out`), what is sent to it (`back`), or both."""
        if out:
            self._minority.reach(self._majority, _NOBODY)
        if back:
            self._majority.reach(self._minority, _NOBODY)

    def heal(self) -> None:
        """Deliver everything again."""
        self._minority.reach(self._majority, self._majority.mac)
        self._majority.reach(self._minority, self._minority.mac)

    def close(self) -> None:
        """Remove both. Programs that still run in them lose all connections."""
        self._minority.close()
        self._majority.close()


def _free_net() -> int:
    taken = {int(number) for number in re.findall(rf"{re.escape(_NET)}\.(\d+)\.", _ip("-o", "-4", "address"))}
    return next((os.getpid() + n) % 256 for n in range(256) if (os.getpid() + n) % 256 not in taken)


def _remove_leftovers() -> None:
    """Remove the namespaces of runs that were killed before they could do so."""
    for name in re.findall(rf"^{_PREFIX}-\d+-\w+", _ip("netns", "list"), re.MULTILINE):
        if not Path("/proc", name.split("-")[1]).exists():
            with contextlib.suppress(OSError):  # another run removed it first
                _ip("netns", "delete", name)


def why_not() -> str:
    """Return why no networks can be created here; "" when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with networks():
            return ""
    except (OSError, RuntimeError) as error:
        return f"no network namespaces here: {error}"


@contextlib.contextmanager
def networks() -> Iterator[Networks]:
    """Create two joined networks for the duration of a `with`. Raises OSError when that is impossible."""
    _remove_leftovers()
    both = Networks()
    try:
        both.open()
        yield both
    finally:
        both.close()
