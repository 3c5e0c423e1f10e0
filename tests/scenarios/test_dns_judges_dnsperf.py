"""dnsperf queries every name and type as fast as it can: every query gets the right answer."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.scenarios.judged import ZONE, Judged, claim, judged

SERVICES = [f"svc-{number}" for number in range(40)]
# dnsperf reads no answer above 16 KiB over TCP, and waits for ever.
LARGE = 100
THERE = [
    *SERVICES,
    *(f"_{name}._tcp" for name in SERVICES),
    *(f"blue.{name}" for name in SERVICES),
    "large", "_large._tcp", "_tcp", "_udp", "ns", "_services._dns-sd._udp", "_dns-sd._udp",
]  # fmt: skip
MISSING = [*(f"nobody-{number}" for number in range(40)), "a.b.svc-1", "_svc-1._udp", "green.svc-1", "_svc-1"]
TYPES = ("A", "AAAA", "SRV", "TXT", "PTR", "MX", "SOA", "HTTPS")
ROUNDS = 10


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with judged(tmp_path_factory.mktemp("dnsperf")) as system:
        system.register(*(claim(name, f"10.2.0.{at}", tags=["blue"]) for at, name in enumerate(SERVICES, 1)))
        system.register(*(claim("large", f"10.1.0.{number}") for number in range(1, LARGE + 1)))
        yield system


def asked(names: list[str]) -> list[str]:
    return [f"{name}.{ZONE} {qtype}\n" for name in names for qtype in TYPES]


# Plain; with EDNS, DO and a dozen clients; over TCP with several pending queries on each connection.
@pytest.mark.parametrize("flags", [[], ["-e", "-D", "-c", "12"], ["-m", "tcp", "-c", "12"]], ids=" ".join)
def test_every_query_is_answered_as_it_should_be_while_the_fleet_changes(system: Judged, flags: list[str]) -> None:
    questions = system.folder / "questions"
    questions.write_text("".join(asked(THERE) + asked(MISSING)))
    churning = [claim("churning", f"10.3.0.{number}") for number in range(1, 20)]
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            system.register(*churning)
            system.deregister(*churning)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        at = ("-s", "127.0.0.1", "-p", str(system.ports.dns), "-d", str(questions), "-n", str(ROUNDS))
        said = system.run("dnsperf", *at, *flags)
    finally:
        done.set()
        thread.join(60)
    total = ROUNDS * len(TYPES) * (len(THERE) + len(MISSING))
    assert [int(n) for n in re.findall(r"Queries (?:sent|completed|lost): +(\d+)", said)] == [total, total, 0], said
    codes = re.search(r"Response codes: +(.*)", said)
    assert codes is not None
    counted = Counter({name: int(n) for name, n in re.findall(r"([A-Z]+) (\d+)", codes[1])})
    expected = {"NOERROR": ROUNDS * len(TYPES) * len(THERE), "NXDOMAIN": ROUNDS * len(TYPES) * len(MISSING)}
    assert counted == expected, said
