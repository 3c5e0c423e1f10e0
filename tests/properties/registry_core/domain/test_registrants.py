"""However old sidecars share addresses and lose their registrations: each that lives keeps its lease."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.leases import LeaseTerms
from registry_core.domain.registrants import Origin, Registrants
from tests.samples import instance

TERMS = LeaseTerms()
# Old sidecars send a heartbeat every 30 s, and a moment later when the machine is busy.
LATE = st.floats(0.0, 2.0)
STEPS = 12


@st.composite
def clients(draw: st.DrawFn) -> list[tuple[Origin, list[float]]]:
    """Return the clients of one service: where each is, and when it sends its heartbeats."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        at, times = draw(st.floats(0.0, TERMS.heartbeat_s)), []
        for late_s in draw(st.lists(LATE, min_size=STEPS, max_size=STEPS)):
            times.append(at)
            at += TERMS.heartbeat_s + late_s
        found.append((Origin(draw(st.sampled_from(("10.0.0.1", "10.0.0.2")))), times))
    return found


@given(clients(), st.lists(st.floats(0.0, 300.0), max_size=2), st.booleans())
def test_each_client_keeps_its_lease_over_losses_of_the_registry(
    fleet: list[tuple[Origin, list[float]]], restarts: list[float], keeps: bool
) -> None:
    replica = Registrants(TERMS.heartbeat_s)
    own = [instance(port=8001 + number) for number in range(len(fleet))]
    renewed: dict[int, float] = {}
    beats = [(at, number) for number, (_, times) in enumerate(fleet) for at in times]
    events = sorted([*beats, *((at, -1) for at in restarts)])
    horizon = min(times[-1] for _, times in fleet)
    for now, number in events:
        if number < 0:  # the replica starts anew: with its store, or without
            replica = Registrants(TERMS.heartbeat_s)
            renewed = renewed if keeps else {}
            continue
        origin = fleet[number][0]
        key = replica.beaten(origin, [own[n] for n in sorted(renewed)], now)
        if key is None:
            replica.registered(own[number], origin, now)
            renewed[number] = now
        else:
            renewed[next(n for n in renewed if own[n].key == key)] = now
        renewed = {n: at for n, at in renewed.items() if now - at < TERMS.removed_after_s}
        since = max([0.0, *(at for at in restarts if at <= now)])
        if since + 4 * TERMS.heartbeat_s < now < horizon:
            assert set(renewed) == set(range(len(fleet)))
