"""Which leaving services a new registration waits for."""

from __future__ import annotations

from agent.registration.decisions import RequestOutcome, Timings, started
from agent.registration.departures import Departures
from agent.registration.leave import DrainWaits
from agent.registration.member import Member
from agent.registries.client import RegistryClient, RegistryReply
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Protocol, Registration, Status
from registry_core.supervision import Background
from tests.samples import claim


class Away(RegistryClient):
    """A registry that cannot be reached."""

    def __init__(self) -> None:
        self.tried: list[tuple[Registration, Status]] = []

    async def set_status(self, claim: Registration, status: Status) -> RegistryReply:
        self.tried.append((claim, status))
        return RegistryReply(RequestOutcome.UNAVAILABLE)


async def test_a_service_waits_for_those_that_leave_its_socket_or_its_id() -> None:
    """One host:port over TCP and over UDP are two sockets."""
    leaving = claim("billing", port=5353, protocol=Protocol.TCP)
    member = Member(ServiceSpec(leaving), leaving, started(0.0, Timings(), checked=False))
    member.known = True
    background = Background()
    departures = Departures(Away(), background, lambda: DrainWaits(confirm_s=0.0, srv_s=0.0, wait_s=0.0))
    departures.take_out(member)
    same_socket = claim("orders", port=5353, protocol=Protocol.HTTP)
    same_id = claim("billing", port=9999, protocol=Protocol.UDP, instance_id=leaving.instance_id)
    over_udp = claim("billing", port=5353, protocol=Protocol.UDP, instance_id="another")
    assert [len(departures.before(one)) for one in (same_socket, same_id, over_udp)] == [1, 1, 0]
    await departures.close()
    await background.close()
