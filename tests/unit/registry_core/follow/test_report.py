from __future__ import annotations

import msgspec

from registry_core.domain.freshness import Freshness
from registry_core.follow.report import UpstreamState


def test_a_state_is_plain_data() -> None:
    state = UpstreamState(
        urls=("http://10.0.0.1:8888",),
        connected_to="",
        state="",
        freshness=Freshness.EXPIRED,
        age_s=None,
        cursor="",
        snapshots=0,
        resumed=0,
        losses=1,
        lost_s=3.0,
        problem="Connection refused",
        protocol=0,
    )
    assert msgspec.json.decode(msgspec.json.encode(state), type=UpstreamState) == state
