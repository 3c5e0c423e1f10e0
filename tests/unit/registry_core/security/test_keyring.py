"""The keys in use: whose each is, until when, and that nothing depends on which came close."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from registry_core.security.identities import Proof, Role
from registry_core.security.issued_keys import IssuedKey, issued
from registry_core.security.keyring import Credentials, Keyring, same_text
from registry_core.security.signature_errors import UnknownKey, WrongSignature
from registry_core.security.signatures import Signature, read_signature, signed
from registry_core.security.signing_keys import (
    SigningKey,
    api_key,
    follower_key,
    reader_key,
    replica_key,
    service_key,
    shared_key,
)

NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)
AT = NOW.timestamp()
ISSUED = SigningKey("k-00000000000a", "i" * 43)


def keys(role: Role = Role.SERVICE, service: str = "billing", days: int | None = 1) -> tuple[IssuedKey, ...]:
    return issued((), ISSUED, role, service, now=NOW, days=days)


RING = Keyring(Credentials(("old", "new"), ("a-read-key",), keys()))


def signature(key: SigningKey) -> Signature:
    headers = signed(key, "GET", "/x", created=int(AT), nonce="n" * 16)
    return read_signature("GET", "/x", headers.items(), has_body=False)


@pytest.mark.parametrize(
    ("key", "who", "key_id"),
    [
        (shared_key("old"), "operator", "shared#1"),
        (shared_key("new"), "operator", "shared#2"),
        (replica_key("new"), "replica", "replica#2"),
        (follower_key("old"), "follower", "follower#1"),
        (service_key("ip_intel", "old"), "service:ip-intel", "service:ip_intel#1"),
        (reader_key("a-read-key"), "reader", "reader"),
        (ISSUED, "service:billing", "k-00000000000a"),
    ],
    ids=lambda value: getattr(value, "id", value),
)
def test_each_key_is_somebodys(key: SigningKey, who: str, key_id: str) -> None:
    identity = RING.signer(signature(key), AT)
    assert (identity.name, identity.key_id, identity.proof) == (who, key_id, Proof.SIGNATURE)


@pytest.mark.parametrize("key_id", ["shared", "replica", "reader", "service:billing", "k-00000000000a"])
def test_another_secret_is_not_the_one_of_a_key(key_id: str) -> None:
    with pytest.raises(WrongSignature):
        RING.signer(signature(SigningKey(key_id, "another")), AT)


@pytest.mark.parametrize("key_id", ["k-00000000000b", "service:", "service:No", "nobody", "shared#1"])
def test_a_key_that_is_not_here_is_nobodys(key_id: str) -> None:
    made = Signature(key_id, int(AT), "n" * 16, b"", b"", None)
    with pytest.raises(UnknownKey, match="has no key"):
        RING.signer(made, AT)
    with pytest.raises(UnknownKey):
        Keyring(Credentials()).signer(signature(shared_key("")), AT)


def test_an_issued_key_ends() -> None:
    later = (NOW + timedelta(days=1)).timestamp()
    with pytest.raises(UnknownKey, match="has ended"):
        RING.signer(signature(ISSUED), later)
    assert RING.holder_of_token(ISSUED.text, AT) is not None
    assert RING.holder_of_token(ISSUED.text, later) is None


def test_other_credentials_take_effect_at_once() -> None:
    ring = Keyring(Credentials(("old",), (), keys()))
    ring.use(Credentials(("new",)))
    for key in (shared_key("old"), ISSUED, service_key("ip_intel", "old")):
        with pytest.raises((UnknownKey, WrongSignature)):
            ring.signer(signature(key), AT)
    assert ring.signer(signature(shared_key("new")), AT).role is Role.OPERATOR


@pytest.mark.parametrize("token", ["", "older", "old,new", "\udcff", ".", "k-00000000000a.", f".{ISSUED.secret}"])
def test_a_wrong_token_is_nobodys(token: str) -> None:
    assert RING.holder_of_token(token, AT) is None
    assert RING.reader_with(token, AT) is None


def test_a_bearer_reads_and_is_nothing_more() -> None:
    reader = RING.reader_with("a-read-key", AT)
    assert reader is not None
    assert reader.role is Role.READER
    assert RING.reader_with(ISSUED.text, AT) is None, "it is the key of a service"
    assert Keyring(Credentials(issued=keys(Role.READER, ""))).reader_with(ISSUED.text, AT) is not None


def test_an_api_key_is_for_its_own_service_and_secret() -> None:
    assert RING.covers(api_key("billing", "new").upper(), "billing")
    assert not RING.covers(api_key("billing", "new"), "billing2")
    assert not RING.covers(api_key("billing", "other"), "billing")
    assert not RING.covers("\udcff", "billing")


def test_no_text_of_credentials_shows_one() -> None:
    assert "old" not in repr(Credentials(("old",), ("reading",), keys()))


def test_every_candidate_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the time of an answer would tell the first secret from the second."""
    compared: list[str] = []

    def counting(one: str, other: str) -> bool:
        compared.append(one)
        return same_text(one, other)

    monkeypatch.setattr("registry_core.security.keyring.same_text", counting)
    for token in ("old", "new", "neither"):
        compared.clear()
        RING.holder_of_token(token, AT)
        assert compared[:2] == ["old", "new"]


def test_a_key_that_has_signed_before_is_checked_as_the_first_time() -> None:
    ring = Keyring(Credentials(("old", "new"), (), keys()))
    for key in (shared_key("new"), service_key("ip_intel", "old"), ISSUED):
        first = ring.signer(signature(key), AT)
        assert ring.signer(signature(key), AT) == first
        with pytest.raises(WrongSignature):
            ring.signer(signature(SigningKey(key.id, "another")), AT)
    with pytest.raises(UnknownKey, match="has ended"):
        ring.signer(signature(ISSUED), (NOW + timedelta(days=1)).timestamp())


def test_keys_that_nobody_signs_with_are_not_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_core.security.keyring.MAX_READY", 3)
    ring = Keyring(Credentials(("old",)))
    before = ring.ready
    with pytest.raises(WrongSignature):
        ring.signer(signature(SigningKey("service:billing", "another")), AT)
    assert (before, ring.ready) == (0, 0)
    for number in range(10):
        ring.signer(signature(service_key(f"service-{number}", "old")), AT)
        assert ring.ready <= 3


def test_a_key_that_differs_in_one_digit_is_not_that_of_a_service() -> None:
    key = api_key("billing", "new")
    assert RING.covers(key, "billing")
    assert RING.covers(key.upper(), "billing"), "hexadecimal digits have no case"
    for place in (0, 31, 63):
        other = key[:place] + ("0" if key[place] != "0" else "1") + key[place + 1 :]
        assert not RING.covers(other, "billing")
