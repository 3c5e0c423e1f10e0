"""Secrets that are sent as they are: over loopback and TLS always, over plain HTTP as a setting says."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from registry_core.api.plain_forms import PlainPolicy, PlainRefused, is_in_plain_sight
from registry_core.security.access_settings import PlainForms
from tests.samples import FakeClock

HEADER = "X-Registry-Token"


def request(peer: Any, *, tls: bool = False, headers: dict[str, str] | None = None) -> web.Request:
    known = {"peername": peer, "ssl_object": object() if tls else None}
    transport = mock.Mock(get_extra_info=lambda name, default=None: known.get(name, default))
    return make_mocked_request("POST", "/register", headers=headers or {}, transport=transport)


@pytest.mark.parametrize(
    ("made", "is_seen"),
    [
        (request(("10.0.0.7", 4000)), True),
        (request(("fd00::7", 4000, 0, 0)), True),
        (request(("10.0.0.7", 4000), tls=True), False),
        (request(("127.0.0.1", 4000)), False),
        (request(("127.9.9.9", 4000)), False),
        (request(("::1", 4000, 0, 0)), False),
        (request(("::ffff:127.0.0.1", 4000, 0, 0)), False),
        (request(("::ffff:10.0.0.7", 4000, 0, 0)), True),
        (request(("127.0.0.1", 4000), headers={"X-Forwarded-For": "10.0.0.7"}), True),
        (request(("127.0.0.1", 4000), headers={"Forwarded": "for=10.0.0.7"}), True),
        (request(("127.0.0.1", 4000), tls=True, headers={"X-Forwarded-For": "10.0.0.7"}), False),
        (request(""), False),  # a socket of this machine's file system
    ],
)
def test_who_can_have_seen_it(made: web.Request, is_seen: bool) -> None:
    assert is_in_plain_sight(made) is is_seen


def test_off_refuses_it_and_names_the_ways_out() -> None:
    policy = PlainPolicy(PlainForms.OFF, FakeClock())
    with pytest.raises(PlainRefused, match=r"use TLS, sign the request .* REGISTRY_PLAIN_AUTH=on") as refused:
        policy.require(request(("10.0.0.7", 4000)), HEADER)
    assert refused.value.field == HEADER
    policy.require(request(("127.0.0.1", 4000)), HEADER)
    assert (policy.exposed, policy.refused) == (0, 1)


def test_warn_accepts_it_and_logs_each_sender_once(capsys: pytest.CaptureFixture[str]) -> None:
    policy = PlainPolicy(PlainForms.WARN, FakeClock())
    for _ in range(3):
        for sender in ("10.0.0.7", "10.0.0.8"):
            policy.require(request((sender, 4000)), HEADER)
    logged = capsys.readouterr().out
    assert policy.exposed == 6
    assert logged.count("plain_secret_accepted") == 2


def test_on_accepts_it_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    policy = PlainPolicy(PlainForms.ON, FakeClock())
    policy.require(request(("10.0.0.7", 4000)), HEADER)
    assert policy.exposed == 1
    assert "plain" not in capsys.readouterr().out
