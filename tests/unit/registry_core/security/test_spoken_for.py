"""What a follower says of the client of a request holds for that request, by its key, and for nothing else."""

from __future__ import annotations

import pytest

from registry_core.security.signatures import WINDOW_S, MacKey
from registry_core.security.signing_keys import SigningKey
from registry_core.security.spoken_for import read_spoken_for, spoken_for

KEY = SigningKey("follower", "a-long-random-word")
AT = 1_764_000_000
TARGET = "/register?x=1"
SEAL = "vertice=:abc=:"


def said(client: str = "203.0.113.9") -> str:
    return spoken_for(KEY, "POST", TARGET, client=client, seal=SEAL, created=AT)


@pytest.mark.parametrize("client", ["203.0.113.9", "2001:db8::9", ""])
def test_the_holder_of_the_key_names_the_client(client: str) -> None:
    spoken = read_spoken_for(said(client), "POST", TARGET, seal=SEAL)
    assert spoken is not None
    assert spoken.client == client
    assert spoken.claim.key_id == KEY.id
    assert spoken.claim.is_of(MacKey(KEY.secret))


@pytest.mark.parametrize(
    ("method", "target", "seal", "header"),
    [
        ("PUT", TARGET, SEAL, said()),
        ("POST", "/register", SEAL, said()),
        ("POST", TARGET, "", said()),
        ("POST", TARGET, SEAL, said().replace("203", "204")),
        ("POST", TARGET, SEAL, said().replace(str(AT), str(AT + 1))),
    ],
    ids=["method", "target", "signature", "client", "time"],
)
def test_it_holds_for_no_other_request(method: str, target: str, seal: str, header: str) -> None:
    spoken = read_spoken_for(header, method, target, seal=seal)
    assert spoken is not None
    assert not spoken.claim.is_of(MacKey(KEY.secret))


def test_it_holds_for_a_while() -> None:
    spoken = read_spoken_for(said(), "POST", TARGET, seal=SEAL)
    assert spoken is not None
    assert spoken.is_timely(AT + WINDOW_S)
    assert spoken.is_timely(AT - WINDOW_S)
    assert not spoken.is_timely(AT + WINDOW_S + 1)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "203.0.113.9",
        said() + " ",
        said().replace('"203', '"x'),
        said("203.0.113.9").replace("9", "999", 1),
        "a" * 999,
    ],
)
def test_another_form_says_nothing(header: str) -> None:
    assert read_spoken_for(header, "POST", TARGET, seal=SEAL) is None
