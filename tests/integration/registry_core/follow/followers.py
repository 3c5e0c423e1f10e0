"""Real followers on loopback ports, in the test's own loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec

from registry_core.follow.settings import FollowSettings
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.sending import SenderKeys
from registry_core.security.signing_keys import follower_key
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually

SECRET = "a-long-random-word"
CLOSED = msgspec.structs.replace(READY, secrets=(SECRET,))


def following(*urls: str, settings: ReplicaSettings = READY) -> ReplicaSettings:
    """Return the settings of a follower of these; with the secret of `settings` it signs its own requests."""
    keys = SenderKeys(follower_key(settings.secrets[0])) if settings.secrets else SenderKeys()
    return msgspec.structs.replace(settings, follow=FollowSettings(urls, keys))


@contextlib.asynccontextmanager
async def follower_of(*upstreams: Api, settings: ReplicaSettings = READY) -> AsyncIterator[Api]:
    """Run a follower of these for the duration of a `with`, once it follows one of them."""
    async with serving(following(*(api.url for api in upstreams), settings=settings)) as api:
        await eventually(lambda: follows(api), "the follower follows")
        yield api


def follows(api: Api) -> bool:
    """Return whether the follower has a watch and a view."""
    follower = api.replica.follower
    return follower is not None and follower.watch.watching is not None and api.replica.view.loaded
