"""Which watchers the settings create."""

from __future__ import annotations

import pytest

from registry_core.store.redis.masters import masters_of
from registry_core.store.redis.url import redis_settings


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("redis://10.0.0.1", ["main"]),
        ("redis+sentinel://10.0.0.1,10.0.0.2/?masters=a,b,c", ["a", "b", "c"]),
    ],
)
def test_each_shard_has_its_watcher(url: str, names: list[str]) -> None:
    masters = masters_of(redis_settings(url))
    assert [each.name for each in masters] == names
    assert [each.address for each in masters] == [""] * len(names), "none is started"
