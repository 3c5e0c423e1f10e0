from __future__ import annotations

import pytest

from registry_core.errors import SettingsError
from registry_core.follow.settings import FollowSettings
from registry_core.replica_settings import replica_settings
from registry_core.security.sending import Send, SenderKeys
from registry_core.security.signing_keys import SigningKey, follower_key

TWO = "http://10.0.0.1:8888, https://registry-2:8888"


def test_without_the_setting_a_replica_follows_nobody() -> None:
    assert replica_settings({"REGISTRY_SECRET": "a-long-word"}).follow == FollowSettings()


def test_a_follower_signs_with_the_secret_of_the_fleet() -> None:
    follow = replica_settings({"REGISTRY_FOLLOW": TWO, "REGISTRY_SECRET": "one-long,two-long"}).follow
    assert follow.urls == ("http://10.0.0.1:8888", "https://registry-2:8888")
    assert follow.keys == SenderKeys(follower_key("one-long"), other=follower_key("two-long"))


def test_a_follower_may_have_a_key_of_its_own() -> None:
    follow = replica_settings({"REGISTRY_FOLLOW": TWO, "REGISTRY_KEY": "k-1.word", "REGISTRY_SEND": "signed"}).follow
    assert follow.keys == SenderKeys(SigningKey("k-1", "word"), send=Send.SIGNED)


def test_a_follower_that_lets_anybody_write_still_has_the_secret_for_its_registry() -> None:
    settings = replica_settings({"REGISTRY_FOLLOW": TWO, "REGISTRY_SECRET": "one-long", "REGISTRY_AUTH": "off"})
    assert settings.secrets == ()
    assert settings.follow.keys.default == follower_key("one-long")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"REGISTRY_FOLLOW": "registry-1:8888"}, "REGISTRY_FOLLOW: 'registry-1:8888' cannot be used"),
        ({"REGISTRY_FOLLOW": ","}, "it takes 1 to 16 URLs"),
        ({"REGISTRY_FOLLOW": TWO, "REGISTRY_STORE": "redis://10.0.0.3"}, "REGISTRY_STORE: a follower has none of"),
        ({"REGISTRY_FOLLOW": TWO, "REGISTRY_AUDIT": "/var/log/vertice"}, "REGISTRY_AUDIT: a follower has none of"),
        ({"REGISTRY_KEY": "k-1.word"}, "REGISTRY_KEY: a registry sends it to the one that it follows"),
    ],
)
def test_what_does_not_go_together_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        replica_settings(environment)
    assert said in str(refused.value)
