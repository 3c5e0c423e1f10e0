"""Keys: their ids say whose they are, and no text shows a secret by accident."""

from __future__ import annotations

import hashlib

import pytest

from registry_core.security.signing_keys import (
    SigningKey,
    is_key_id,
    read_key,
    reader_key,
    replica_key,
    service_key,
    service_of,
    shared_key,
)

SECRET = "a-long-random-word"


def test_the_key_of_a_service_is_its_api_key() -> None:
    assert service_key("ip-intel", SECRET).secret == hashlib.sha256(b"ip-intel" + SECRET.encode()).hexdigest()


@pytest.mark.parametrize(
    "key", [shared_key(SECRET), replica_key(SECRET), service_key("ip-intel", SECRET), reader_key(SECRET)]
)
def test_a_key_is_read_from_its_text_and_shows_its_id_alone(key: SigningKey) -> None:
    assert read_key(f"{key.text}\n") == key
    assert key.secret not in repr(key)
    assert key.secret not in f"{[key]}"
    assert key.secret[:8] not in key.id


def test_only_the_key_of_a_service_has_one() -> None:
    assert service_of(service_key("ip-intel", SECRET).id) == "ip-intel"
    assert service_of("shared") is None
    assert service_of("service:") is None
    assert service_of("service:no/name") is None


@pytest.mark.parametrize("text", ["", "x9", ".x9", "id.", "id x9.x", "id.x9 x", "i" * 81 + ".x9", "é.x9"])
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"form ID\.SECRET") as refused:
        read_key(text)
    assert "x9" not in str(refused.value)


def test_an_id_has_no_odd_characters() -> None:
    assert is_key_id("service:ip_intel-2")
    assert not any(is_key_id(text) for text in ('a"b', "a b", "-a", "a\n", "", "a" * 81))
