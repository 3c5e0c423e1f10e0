"""Which replicas do not answer, as `/health` shows it."""

from __future__ import annotations

from registry_core.api.health import Health
from registry_core.api.peer_watch import MAX_NAMED, SILENT_AFTER_S, PeerWatch, health_of_peers
from registry_core.api.peers import Peers
from tests.samples import FakeClock


class Answering(Peers):
    """Peers of which some are silent."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(urls)
        self.away: tuple[str, ...] = ()

    async def silent(self) -> tuple[str, ...]:
        return self.away


async def test_a_replica_counts_as_silent_once_it_is_away_for_longer_than_a_restart_takes() -> None:
    clock, peers = FakeClock(), Answering(["http://a", "http://b"])
    watch = PeerWatch(peers, clock)
    peers.away = ("http://b",)
    await watch.look()
    assert watch.report().silent == 0
    clock.pass_time(SILENT_AFTER_S)
    await watch.look()
    report = watch.report()
    assert (report.known, report.silent, report.silent_urls) == (2, 1, ["http://b"])
    assert health_of_peers(report) is Health.DEGRADED


async def test_a_replica_that_is_back_is_silent_no_more() -> None:
    clock, peers = FakeClock(), Answering(["http://a"])
    watch = PeerWatch(peers, clock)
    peers.away = ("http://a",)
    await watch.look()
    clock.pass_time(SILENT_AFTER_S)
    peers.away = ()
    await watch.look()
    assert watch.report().silent == 0
    assert health_of_peers(watch.report()) is Health.HEALTHY


async def test_the_number_of_silent_replicas_that_are_named_is_limited() -> None:
    clock, peers = FakeClock(), Answering([f"http://{number}" for number in range(MAX_NAMED + 5)])
    watch = PeerWatch(peers, clock)
    peers.away = tuple(f"http://{number}" for number in range(MAX_NAMED + 5))
    await watch.look()
    clock.pass_time(SILENT_AFTER_S)
    report = watch.report()
    assert (report.silent, len(report.silent_urls)) == (MAX_NAMED + 5, MAX_NAMED)
