"""The settings of TLS towards Redis, beside the URL."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from registry_core.errors import SettingsError
from registry_core.setting_sources import read_settings
from registry_core.store.redis.tls_settings import REDIS_TLS_SETTINGS, with_redis_tls
from registry_core.store.redis.url import redis_settings

SENTINELS = "rediss+sentinel://s1,s2/?masters=a"


def test_they_hold_for_redis_and_for_sentinels() -> None:
    given = {
        "REGISTRY_REDIS_CA": "/ca",
        "REGISTRY_REDIS_CERT": "/c",
        "REGISTRY_REDIS_KEY": "/k",
        "REGISTRY_REDIS_TLS_NAME": "redis.example",
    }
    found = with_redis_tls(redis_settings(SENTINELS), read_settings(REDIS_TLS_SETTINGS, given))
    assert found is not None
    for access in (found.access, found.sentinel_access):
        assert (access.ca_file, access.cert_file, access.key_file) == ("/ca", "/c", "/k")
        assert access.server_name == "redis.example"


def test_without_them_nothing_changes() -> None:
    values = read_settings(REDIS_TLS_SETTINGS, {})
    assert with_redis_tls(None, values) is None
    assert with_redis_tls(redis_settings(SENTINELS), values) == redis_settings(SENTINELS)


@pytest.mark.parametrize(
    ("url", "given", "because"),
    [
        ("redis://h", {"REGISTRY_REDIS_CA": "/ca"}, "REGISTRY_REDIS_CA: it needs a REGISTRY_STORE that begins with"),
        (None, {"REGISTRY_REDIS_TLS_NAME": "x"}, "REGISTRY_REDIS_TLS_NAME: it needs a REGISTRY_STORE"),
        ("rediss://h/?ca=/a", {"REGISTRY_REDIS_CA": "/b"}, "REGISTRY_REDIS_CA: REGISTRY_STORE has ca= as well"),
        ("rediss://h", {"REGISTRY_REDIS_KEY": "/k"}, "REGISTRY_REDIS_KEY: it needs REGISTRY_REDIS_CERT"),
    ],
)
def test_what_does_not_go_together_is_said(url: str | None, given: Mapping[str, str], because: str) -> None:
    redis = None if url is None else redis_settings(url)
    with pytest.raises(SettingsError, match=f"^{because}"):
        with_redis_tls(redis, read_settings(REDIS_TLS_SETTINGS, given))
