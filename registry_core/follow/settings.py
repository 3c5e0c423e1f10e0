"""The settings of a follower: which registries it follows, and what it proves to them who it is with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from registry_core.errors import SettingsError
from registry_core.security.registry_keys import REGISTRY_KEY, REGISTRY_SEND
from registry_core.security.sending import SenderKeys, one_or_two
from registry_core.security.signing_keys import follower_key
from registry_core.setting_values import Values
from registry_core.settings import Setting, http_url, items
from registry_core.shared_secret import SECRET

MAX_UPSTREAMS: Final = 16
_EXAMPLE: Final = "https://registry-1:8888,https://registry-2:8888"


def _upstreams(value: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(items(http_url)(value)))
    if not 1 <= len(found) <= MAX_UPSTREAMS:
        raise ValueError(f"it takes 1 to {MAX_UPSTREAMS} URLs, comma-separated")
    return found


FOLLOW: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_FOLLOW",
    _upstreams,
    (),
    "makes this registry a follower of the one at these URLs, replicas of one deployment or followers of it: it "
    "answers lookups from what it reads there, and passes writes on",
    _EXAMPLE,
)
# The same as an agent's, for what a follower sends in its own name.
OWN_KEY: Final = msgspec.structs.replace(
    REGISTRY_KEY,
    meaning="of a follower: a key of its own, as `vertice keys issue --role follower` prints it, to sign with towards "
    "the registry that it follows, instead of REGISTRY_SECRET",
    example="k-5f1d2c7a9b3e.a-long-random-word",
)
OWN_SEND: Final = msgspec.structs.replace(
    REGISTRY_SEND, meaning="of a follower: how it proves to the registry that it follows who it is, as at an agent"
)
FOLLOW_SETTINGS: Final[tuple[Setting[Any], ...]] = (FOLLOW, OWN_KEY, OWN_SEND)


class FollowSettings(msgspec.Struct, frozen=True):
    """What a follower follows; without `urls` a replica is none."""

    urls: tuple[str, ...] = ()
    keys: SenderKeys = SenderKeys()


def follow_settings(values: Values) -> FollowSettings:
    """Return the settings. Raises SettingsError for a key that nothing is followed with."""
    own = values[OWN_KEY]
    if not values[FOLLOW]:
        if own is not None:
            raise SettingsError(
                f"{values.label(OWN_KEY.name)}: a registry sends it to the one that it follows; it needs "
                f"{FOLLOW.name} (example: {FOLLOW.example})"
            )
        return FollowSettings()
    secrets: tuple[str, ...] = values[SECRET]
    first, other = one_or_two(map(follower_key, secrets)) if own is None else (own, None)
    return FollowSettings(values[FOLLOW], SenderKeys(first, send=values[OWN_SEND], other=other))


def check_follower(values: Values, others: Iterable[Setting[Any]]) -> None:
    """Raise SettingsError when one of `others` is set, which the registry that is followed has."""
    for setting in others:
        if values[setting] != setting.default:
            raise SettingsError(
                f"{values.label(setting.name)}: a follower has none of its own, the registry that it follows has; it "
                f"does not go with {FOLLOW.name}"
            )
