"""What a sender sends, and what it does about refusals: above all, who can make it give away its secret."""

from __future__ import annotations

from typing import Final

import pytest

from registry_core.security.sending import (
    MAX_REGISTRIES,
    PLAIN_FOR_S,
    PROVEN_S,
    Attempt,
    CredentialRefusal,
    Note,
    RequestSigner,
    Send,
    SenderKeys,
    is_safe,
)
from registry_core.security.signatures import MacKey, read_signature
from registry_core.security.signing_keys import SigningKey, read_key, service_key, shared_key
from tests.samples import FakeClock

SECRET: Final = "a-long-random-word"
FAR: Final = "http://registry:8888"
NEAR: Final = "http://127.0.0.1:8888"
OLD: Final = CredentialRefusal(401, "Unauthorized", "X-Registry-Token")
NEW: Final = "Signature, X-Registry-Token"


class Sender:
    """A sender with a clock of the test, and what it told the operator."""

    def __init__(self, send: Send = Send.AUTO, key: SigningKey | None = None, proven: tuple[str, ...] = ()) -> None:
        self.clock = FakeClock()
        self.notes: list[tuple[Note, str]] = []
        keys = SenderKeys(key if key is not None else shared_key(SECRET), send=send)
        self.signer = RequestSigner(keys, self.clock, proven=proven, note=lambda *note: self.notes.append(note))

    def attempt(self, url: str = FAR) -> Attempt:
        return self.signer.attempt(url, "POST", "/heartbeat", body=b"{}")

    def refused(self, refusal: CredentialRefusal, url: str = FAR) -> float | None:
        return self.signer.again(url, self.attempt(url), refusal)

    def created(self, url: str = FAR) -> int:
        return read_signature("POST", "/heartbeat", self.attempt(url).headers.items(), has_body=True).created

    def take_for(self, seconds: float, url: str = FAR) -> None:
        for _ in range(2):
            self.signer.accepted(url, self.attempt(url))
            self.clock.pass_time(seconds)
        self.signer.accepted(url, self.attempt(url))


def test_a_request_is_signed_and_its_secret_is_not_in_it() -> None:
    sender = Sender()
    attempt = sender.attempt()
    assert attempt.is_signed
    signature = read_signature("POST", "/heartbeat", attempt.headers.items(), has_body=True)
    assert (signature.key_id, signature.is_of(MacKey(SECRET)), signature.created) == (
        "shared",
        True,
        int(sender.clock.wall()),
    )
    assert SECRET not in str(attempt.headers) + repr(sender.signer.keys) + repr(attempt)


def test_each_attempt_is_signed_anew() -> None:
    sender = Sender()
    assert len({sender.attempt().headers["Signature"] for _ in range(50)}) == 50


def test_without_a_key_nothing_is_added() -> None:
    signer = RequestSigner(SenderKeys(), FakeClock())
    attempt = signer.attempt(FAR, "GET", "/watch")
    assert (attempt.headers, signer.again(FAR, attempt, OLD)) == ({}, None)


def test_a_service_is_written_with_its_own_key() -> None:
    billing, other = service_key("billing", SECRET), shared_key("other")
    keys = SenderKeys(other, {"ip-intel": billing})
    assert (keys.of("ip_intel"), keys.of("web"), keys.of()) == (billing, other, other)
    assert SenderKeys(None, {"ip-intel": billing}).of() == billing, "any key is better than none for a lookup"


# -- a registry of the last release


def test_a_registry_of_the_last_release_gets_the_secret_for_a_while() -> None:
    sender = Sender()
    assert sender.refused(OLD) == 0.0
    assert sender.attempt().headers == {"X-Registry-Token": SECRET}
    assert sender.notes == [(Note.SENT_IN_PLAIN, FAR)]
    sender.clock.pass_time(PLAIN_FOR_S)
    assert sender.attempt().is_signed, "it may have been replaced meanwhile"
    assert sender.refused(OLD) == 0.0
    assert len(sender.notes) == 1, "once is enough"


def test_a_key_of_a_service_goes_there_as_its_api_key() -> None:
    key = service_key("billing", SECRET)
    sender = Sender(key=key)
    assert sender.refused(OLD) == 0.0
    assert sender.attempt().headers == {"X-Registry-API-Key": key.secret}


def test_a_key_that_the_last_release_does_not_know_stays_here() -> None:
    assert Sender(key=read_key("ci.0123456789abcdef")).refused(OLD) is None


def test_one_registry_of_each_release_is_told_apart() -> None:
    sender = Sender()
    assert sender.refused(OLD, "http://old:8888") == 0.0
    assert not sender.attempt("http://old:8888").is_signed
    assert sender.attempt("http://new:8888").is_signed


def test_a_registry_that_was_replaced_behind_one_address_is_signed_for_at_once() -> None:
    sender = Sender()
    sender.refused(OLD)
    assert sender.refused(CredentialRefusal(401, "PlainRefused", NEW)) == 0.0
    assert sender.attempt().is_signed


# -- attacks: somebody in between wants the secret


@pytest.mark.parametrize(
    "refusal",
    [
        CredentialRefusal(401, "WrongSignature", NEW),
        CredentialRefusal(401, "Unauthorized", "Basic"),
        CredentialRefusal(401, "Unauthorized", ""),
        CredentialRefusal(503, "Unavailable", "X-Registry-Token"),
        CredentialRefusal(401, "Unauthorized", "Bearer realm=x"),
    ],
)
def test_no_other_refusal_gets_the_secret(refusal: CredentialRefusal) -> None:
    sender = Sender()
    assert sender.refused(refusal) is None
    assert sender.attempt().is_signed


def test_the_setting_signed_gives_the_secret_to_nobody() -> None:
    for url in (FAR, NEAR):
        sender = Sender(Send.SIGNED)
        assert sender.refused(OLD, url) is None
        assert sender.attempt(url).is_signed


def test_an_address_that_took_signatures_gets_no_secret() -> None:
    sender = Sender()
    sender.take_for(PROVEN_S)
    assert sender.signer.proven == {FAR}
    assert sender.refused(OLD) is None
    assert (sender.attempt().is_signed, sender.notes) == (True, [(Note.NOT_SENT, FAR)])


def test_nor_after_a_restart() -> None:
    sender = Sender(proven=(FAR,))
    assert sender.refused(OLD) is None
    assert sender.attempt().is_signed


def test_a_release_can_be_rolled_back_within_the_hour() -> None:
    sender = Sender()
    sender.take_for(PROVEN_S / 3)
    assert sender.refused(OLD) == 0.0
    assert not sender.attempt().is_signed
    sender.clock.pass_time(PLAIN_FOR_S)
    sender.take_for(PROVEN_S / 3)
    assert sender.signer.proven == frozenset(), "the hour begins anew"


@pytest.mark.parametrize("url", [NEAR, "https://registry", "http://[::1]:8888", "http://localhost:8888"])
def test_where_nobody_can_stand_in_between_it_does_not_matter(url: str) -> None:
    sender = Sender(proven=(url,))
    assert is_safe(url)
    assert sender.refused(OLD, url) == 0.0
    assert sender.notes == []


@pytest.mark.parametrize("url", ["http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://10.0.0.1"])
def test_a_name_that_looks_like_loopback_is_not(url: str) -> None:
    assert not is_safe(url)


def test_the_setting_token_sends_it_always() -> None:
    sender = Sender(Send.TOKEN, proven=(FAR,))
    assert sender.attempt().headers == {"X-Registry-Token": SECRET}
    assert sender.refused(CredentialRefusal(401, "PlainRefused", NEW)) is None


def test_ever_new_addresses_take_no_more_memory() -> None:
    sender = Sender()
    for number in range(10 * MAX_REGISTRIES):
        sender.take_for(PROVEN_S, f"http://r{number}:8888")
    assert len(sender.signer.proven) == MAX_REGISTRIES
    assert len(sender.signer._registries) <= MAX_REGISTRIES


# -- time


def test_the_time_of_a_refusal_corrects_ours() -> None:
    sender = Sender()
    theirs = int(sender.clock.wall()) + 7200
    assert sender.refused(CredentialRefusal(401, "OutOfTime", NEW, example=theirs)) == 0.0
    assert sender.created() == theirs
    sender.clock.pass_time(60)
    assert sender.created() == theirs + 60
    assert sender.created("http://other:8888") == int(sender.clock.wall()), "each registry has its own clock"


@pytest.mark.parametrize("example", [None, "soon", True, -1, 0, 2**40, float("nan"), float("inf"), [1]])
def test_nonsense_corrects_nothing(example: object) -> None:
    sender = Sender()
    assert sender.refused(CredentialRefusal(401, "OutOfTime", NEW, example=example)) is None
    assert sender.created() == int(sender.clock.wall())


def test_a_request_that_may_have_been_seen_is_signed_anew() -> None:
    assert Sender().refused(CredentialRefusal(401, "Replayed", NEW)) == 0.0


def test_a_registry_that_has_just_started_is_waited_for() -> None:
    sender = Sender()
    theirs = sender.clock.wall() + 30
    wait_s = sender.refused(CredentialRefusal(503, "SignedBeforeStart", date=theirs))
    assert wait_s is not None
    sender.clock.pass_time(wait_s)
    assert sender.created() > theirs


# -- two secrets, while one replaces the other

WRONG: Final = CredentialRefusal(401, "WrongSignature", NEW)


class SenderOfTwo(Sender):
    def __init__(self, send: Send = Send.AUTO) -> None:
        super().__init__(send)
        self.signer.keys = SenderKeys(shared_key("old"), send=send, other=shared_key("new"))

    def secret(self, url: str = FAR) -> str:
        attempt = self.attempt(url)
        assert attempt.key is not None
        return attempt.key.secret


def test_where_the_first_of_two_secrets_is_refused_the_second_is_used_from_then_on() -> None:
    sender = SenderOfTwo()
    assert sender.secret() == "old"
    assert sender.refused(WRONG) == 0.0
    attempt = sender.attempt()
    assert (sender.secret(), attempt.is_signed) == ("new", True)
    assert "x-registry-token" not in {name.lower() for name in attempt.headers}
    assert sender.secret(NEAR) == "old", "another registry may still take the first"
    sender.clock.pass_time(3600)
    assert sender.refused(WRONG) == 0.0
    assert sender.secret() == "old", "and back, as after a rollback"


def test_two_requests_at_once_may_both_go_on_with_the_second() -> None:
    sender = SenderOfTwo()
    first, second = sender.attempt(), sender.attempt()
    assert sender.signer.again(FAR, first, WRONG) == 0.0
    assert sender.signer.again(FAR, second, WRONG) == 0.0
    assert sender.secret() == "new"


def test_two_wrong_secrets_are_not_tried_again_and_again() -> None:
    sender = SenderOfTwo()
    assert sender.refused(WRONG) == 0.0
    assert sender.refused(WRONG) is None
    used = set()
    for _ in range(4):
        used.add(sender.secret())
        assert sender.refused(WRONG) is None, "one attempt a request, while both were refused just now"
    assert used == {"old", "new"}, "but either, as soon as one is right again"


@pytest.mark.parametrize(("send", "url"), [(Send.TOKEN, FAR), (Send.AUTO, NEAR)])
def test_a_registry_that_takes_the_secret_itself_gets_the_second_as_well(send: Send, url: str) -> None:
    sender = SenderOfTwo(send)
    if send is Send.AUTO:
        assert sender.refused(OLD, url) == 0.0
    assert sender.attempt(url).headers == {"X-Registry-Token": "old"}
    assert sender.refused(OLD, url) == 0.0
    assert sender.attempt(url).headers == {"X-Registry-Token": "new"}


def test_a_key_of_its_own_has_no_second() -> None:
    sender = SenderOfTwo()
    own = SigningKey("k-0123456789ab", "x" * 40)
    sender.signer.keys = SenderKeys(shared_key("old"), {"billing": own}, other=shared_key("new"))
    attempt = sender.signer.attempt(FAR, "POST", "/heartbeat", service="billing", body=b"{}")
    assert sender.signer.again(FAR, attempt, WRONG) is None
    assert sender.secret() == "old"
