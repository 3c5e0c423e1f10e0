"""The file of keys: two valid ones for a holder at most, and nothing shows a secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from registry_core.errors import NotFound, ValidationError
from registry_core.security.identities import Role
from registry_core.security.issued_keys import (
    LISTED,
    MAX_FILE_BYTES,
    IssuedKey,
    UnusableSecrets,
    ended,
    issued,
    key_file,
    read_key_file,
    valid_of,
)
from registry_core.security.signing_keys import SigningKey

NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)
SECRET = "s" * 43


def key(number: int) -> SigningKey:
    return SigningKey(f"k-{number:012x}", SECRET)


def issue(
    keys: tuple[IssuedKey, ...] = (), number: int = 1, service: str = "billing", days: int | None = None
) -> tuple[IssuedKey, ...]:
    role = Role.SERVICE if service else Role.READER
    return issued(keys, key(number), role, service, now=NOW, days=days)


def test_a_file_is_read_as_it_was_written() -> None:
    keys = issue(issue(number=1), 2, service="", days=30)
    assert read_key_file(key_file(keys)) == keys
    assert [one.holder for one in keys] == ["service:billing", "reader"]
    assert SECRET not in repr(keys)


def test_a_key_is_valid_until_its_end() -> None:
    (one,) = issue(days=1)
    assert one.is_valid(NOW + timedelta(hours=23))
    assert not one.is_valid(NOW + timedelta(days=1))
    assert issue()[0].is_valid(NOW + timedelta(days=100_000))


def test_a_holder_has_two_valid_keys_at_most() -> None:
    keys = issue(issue(number=1), 2)
    with pytest.raises(ValidationError, match="has 2 valid keys already: k-000000000001 and k-000000000002"):
        issue(keys, 3)
    keys = issue(keys, 3, service="other")
    keys = ended(keys, "k-000000000001", NOW)
    assert len(valid_of(issue(keys, 4), Role.SERVICE, "billing", NOW)) == 2


def test_both_spellings_of_a_service_are_one_holder() -> None:
    keys = issue(issue(number=1, service="ip-intel"), 2, service="ip_intel")
    assert len(valid_of(keys, Role.SERVICE, "ip_intel", NOW)) == 2
    with pytest.raises(ValidationError):
        issue(keys, 3, service="ip_intel")


def test_an_end_is_never_put_off() -> None:
    keys = ended(issue(days=1), "k-000000000001", NOW + timedelta(days=7))
    assert keys[0].expires == NOW + timedelta(days=1)
    with pytest.raises(NotFound):
        ended(keys, "k-0", NOW)


def test_keys_that_ended_long_ago_are_dropped() -> None:
    keys = issued(issue(days=1), key(2), Role.READER, "", now=NOW + timedelta(days=1) + LISTED, days=None)
    assert [one.id for one in keys] == ["k-000000000002"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "service:billing"}, "the id of a key"),
        ({"secret": "short"}, "32 to 128"),
        ({"secret": "a,b" * 20}, "32 to 128"),
        ({"role": Role.ANYONE}, "its role is none of"),
        ({"service": ""}, "names its service"),
        ({"role": Role.READER}, "names its service"),
        ({"service": "No Name"}, "names its service"),
        ({"issued": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - what is refused
    ],
)
def test_a_key_that_makes_no_sense_is_refused(changes: dict[str, object], words: str) -> None:
    (good,) = issue()
    with pytest.raises(UnusableSecrets, match=words) as refused:
        read_key_file(key_file([msgspec.structs.replace(good, **changes)]))
    assert str(changes.get("secret")) not in str(refused.value)


def test_what_is_no_file_of_keys_is_refused() -> None:
    (good,) = issue()
    for body in (b"", b"{}x", b'{"version":2,"keys":[]}', b'{"keys":[{}]}', b'{"keys":[],"more":1}', b"[" * 100_000):
        with pytest.raises(UnusableSecrets, match="not a file of keys"):
            read_key_file(body)
    with pytest.raises(UnusableSecrets, match="more than"):
        read_key_file(b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(UnusableSecrets, match="twice"):
        read_key_file(key_file([good, good]))
