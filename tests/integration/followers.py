"""Followers in the test's own loop, in front of real registries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec

from registry_core.follow.follower import FollowingParts
from registry_core.follow.settings import FollowSettings
from registry_core.ports.clock import SystemClock
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.sending import SenderKeys
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually


class SkippedClock(SystemClock):
    """The clock of this machine, from which time can be skipped."""

    skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


@contextlib.asynccontextmanager
async def following_at(
    *urls: str, settings: ReplicaSettings = READY, keys: SenderKeys | None = None, reads: bool = True
) -> AsyncIterator[Api]:
    """Run a follower of the registries at `urls`; with `reads`, only once it has read one of them."""
    follow = FollowSettings(urls, keys if keys is not None else SenderKeys())
    async with serving(msgspec.structs.replace(settings, follow=follow)) as api:
        if reads:
            await is_level(api)
        yield api


def follower_in(api: Api) -> FollowingParts:
    """Return what makes that replica a follower."""
    follower = api.replica.follower
    assert follower is not None, "it follows nobody"
    return follower


async def is_level(api: Api) -> None:
    """Wait until a follower has read all that its upstream says, and is told that it is so."""
    view = follower_in(api).view
    await eventually(lambda: view.loaded and view.trust.live and view.trust.whole, "the follower is level")
