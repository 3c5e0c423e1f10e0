"""Two networks on this machine that can be cut apart: network namespaces, joined by one cable.

Programs that run on one side reach those on the other side over the cable alone. Each direction of it can
be cut by itself, in silence: what is sent is lost, and nobody is told. The tests reach both sides over
cables of their own, which are never cut and lead nowhere else. It needs root and `ip`.
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
# Of the block for tests of networks (RFC 2544); the third number is ours for as long as we run.
_NET: Final = "198.18"
# Nobody has this one: a frame that is sent to it arrives, and is thrown away, like one that was lost.
_NOBODY: Final = "02:00:00:00:00:99"


class Place(NamedTuple):
    """Where a program runs: on this machine as it is, or on one side of a cable."""

    host: str = "127.0.0.1"  # where the other programs reach it
    control: str = "127.0.0.1"  # where the tests reach it
    within: tuple[str, ...] = ()  # what its command line begins with


HERE: Final = Place()


def _ip(*words: str) -> str:
    done = subprocess.run([find("ip"), *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class _Side:
    """One network namespace: an end of the cable, and an end of the cable to the tests."""

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
        # A /30 of its own: the tests at one end, the namespace at the other.
        _ip("link", "add", self.cable, "type", "veth", "peer", "name", "control", "netns", self.namespace)
        tests_end = self.place.control.rpartition(".")
        _ip("address", "add", f"{tests_end[0]}.{int(tests_end[2]) - 1}/30", "dev", self.cable)
        _ip("link", "set", self.cable, "up")
        self.inside("address", "add", f"{self.place.control}/30", "dev", "control")
        self.inside("link", "set", "control", "up")

    def reach(self, other: _Side, mac: str) -> None:
        """Send what is for the other side to that address."""
        self.inside("neighbour", "replace", other.place.host, "lladdr", mac, "dev", "cable", "nud", "permanent")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it was never made
            _ip("netns", "delete", self.namespace)
        with contextlib.suppress(OSError):  # it went with its other end
            _ip("link", "delete", self.cable)


class Networks:
    """The minority's network and the majority's."""

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
        """Build both, and lay the cable."""
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
        """Lose what the minority sends (`out`), what is sent to it (`back`), or both."""
        if out:
            self._minority.reach(self._majority, _NOBODY)
        if back:
            self._majority.reach(self._minority, _NOBODY)

    def heal(self) -> None:
        """Deliver everything again."""
        self._minority.reach(self._majority, self._majority.mac)
        self._majority.reach(self._minority, self._minority.mac)

    def close(self) -> None:
        """Take both away. Programs that still run in them are cut off from everybody."""
        self._minority.close()
        self._majority.close()


def _free_net() -> int:
    taken = {int(number) for number in re.findall(rf"{re.escape(_NET)}\.(\d+)\.", _ip("-o", "-4", "address"))}
    return next((os.getpid() + n) % 256 for n in range(256) if (os.getpid() + n) % 256 not in taken)


def _remove_leftovers() -> None:
    """Take away the namespaces of runs that were killed before they could do so."""
    for name in re.findall(rf"^{_PREFIX}-\d+-\w+", _ip("netns", "list"), re.MULTILINE):
        if not Path("/proc", name.split("-")[1]).exists():
            with contextlib.suppress(OSError):  # another run was faster
                _ip("netns", "delete", name)


def why_not() -> str:
    """Return why no networks can be built here; "" when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with networks():
            return ""
    except (OSError, RuntimeError) as error:
        return f"no network namespaces here: {error}"


@contextlib.contextmanager
def networks() -> Iterator[Networks]:
    """Have two networks, joined, for the length of a `with`. Raises OSError where that cannot be."""
    _remove_leftovers()
    both = Networks()
    try:
        both.open()
        yield both
    finally:
        both.close()
