"""What of a log line is secret, and what is not."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.store.redis.url import redis_settings
from registry_core.telemetry.redaction import MAX_KNOWN, MAX_TEXT, Redaction, secrets_in


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:p@ss@h:6379/1 is away", "redis://***@h:6379/1 is away"),
        ("http://10.0.0.2:8888 left", "http://10.0.0.2:8888 left"),
        ("{'Authorization': 'Bearer x', 'A': 'b'}", "{'Authorization': '***', 'A': 'b'}"),
        ("<CIMultiDict('X-Registry-Token': 'q', 'A': 'b')>", "<CIMultiDict('X-Registry-Token': '***', 'A': 'b')>"),
        ("x\nx-registry-api-key: aa bb\ny", "x\nx-registry-api-key: ***\ny"),
        ("b'GET / HTTP/1.1\\r\\nCookie: q=1\\r\\nA: b'", "b'GET / HTTP/1.1\\r\\nCookie: ***\\r\\nA: b'"),
        ("sig1=:AAAABBBBCCCCDDDDEEEEFFFF0000==: and on", "sig1=:***: and on"),
        ("GET /x?token=abc&all=1", "GET /x?token=***&all=1"),
        # What the registry says of a credential is none.
        ("Unauthorized: X-Registry-Token: the token is wrong", "Unauthorized: X-Registry-Token: the token is wrong"),
        ("Unauthorized: Signature: its time is off", "Unauthorized: Signature: its time is off"),
    ],
)
def test_what_is_written_like_a_credential_is_masked(text: str, shown: str) -> None:
    assert Redaction().text(text) == shown


def test_known_secrets_are_masked_wherever_they_stand_also_as_a_url_spells_them() -> None:
    redaction = Redaction()
    redaction.hide(["se/cret-one", "short", "secret-two"])
    assert redaction.text("a se/cret-one, se%2Fcret-one; secret-two? short") == "a ***, ***; ***? short"
    assert redaction.value({"a": [("secret-two", 1, None)], "b": b"secret-two"}) == {
        "a": [["***", 1, None]],
        "b": "***",
    }


def test_memory_and_lengths_have_a_bound() -> None:
    redaction = Redaction()
    redaction.hide(f"secret-{number:05}" for number in range(MAX_KNOWN + 10))
    redaction.hide(["the-newest-one"])
    assert redaction.text("the-newest-one") == "***"
    assert len(redaction._known) == MAX_KNOWN
    assert len(redaction.text("x" * 1_000_000)) < MAX_TEXT + 100
    deep: object = "x"
    for _ in range(100):
        deep = [deep]
    assert "..." in str(redaction.value(deep))


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


def test_no_line_is_lost_for_a_value_that_cannot_be_shown() -> None:
    assert Redaction().value(Unprintable()) == "<Unprintable>"


class Settings(msgspec.Struct):
    secret: str
    keys: dict[str, object]
    name: str = "billing"


def test_the_secrets_of_settings_are_found_by_the_names_of_their_fields() -> None:
    store = redis_settings("redis+sentinel://:pass-word@s1/?masters=a&sentinel_password=node-pass")
    found = set(secrets_in(Settings("first-one", {"a": Settings("second-one", {})}))) | set(secrets_in(store))
    assert {"first-one", "second-one", "pass-word", "node-pass"} <= found
    assert "billing" not in found
