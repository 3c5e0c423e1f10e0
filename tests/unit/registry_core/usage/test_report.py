"""The report on the wire: bounded in every field, and open to what a later release adds."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from registry_core.api.schemas import MAX_BODY_BYTES
from registry_core.usage.limits import (
    KEY_DIGITS,
    MAX_AGO_S,
    MAX_COUNT,
    MAX_HOST,
    MAX_LABEL,
    MAX_NAMED,
    MAX_REPORT_PAIRS,
)
from registry_core.usage.report import AgentReport, Asked, Face, agent_id_of

GOOD: Final[dict[str, Any]] = {"key": "0123456789abcdef" * 2, "sequence": 1}


def read(**changed: Any) -> AgentReport:
    return msgspec.json.decode(msgspec.json.encode(GOOD | changed), type=AgentReport)


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "0123456789abcdef"},
        {"key": "g" * KEY_DIGITS},
        {"key": "f" * KEY_DIGITS + "\n"},
        {"sequence": 0},
        {"sequence": MAX_COUNT + 1},
        {"sequence": 1.5},
        {"age_s": -1},
        {"age_s": MAX_AGO_S + 1},
        {"counted_s": -0.1},
        {"usage": [["billing", "dns", -1, 0]]},
        {"usage": [["billing", "dns", 0, 0]]},
        {"usage": [["billing", "dns", MAX_COUNT + 1, 0]]},
        {"usage": [["billing", "dns", 1, -3600]]},
        {"usage": [["billing", "smtp", 1, 0]]},
        {"usage": [["", "dns", 1, 0]]},
        {"usage": [["\x1b[2J", "dns", 1, 0]]},
        {"usage": [["billing\n", "dns", 1, 0]]},
        {"usage": [["b" * (MAX_LABEL + 1), "dns", 1, 0]]},
        {"usage": [["billing", "dns", 1, 0]] * (MAX_REPORT_PAIRS + 1)},
        {"services": ["billing"] * (MAX_NAMED + 1)},
        {"services": ["\u202eevil"]},
        {"host": "\x07"},
        {"host": "h" * (MAX_HOST + 1)},
        {"version": "1\n2"},
        {"left_out": -1},
    ],
)
def test_what_an_agent_never_sends_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(**changed)


def test_infinity_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(b'{"key":"%b","sequence":1,"age_s":1e999}' % (b"0" * KEY_DIGITS), type=AgentReport)


def test_a_field_of_a_later_release_is_ignored() -> None:
    assert read(weather="fine", usage=[["billing", "dns", 2, 1.5, "more"]]).usage == (
        Asked("billing", Face.DNS, 2, 1.5),
    )


def test_the_longest_report_fits_into_a_body() -> None:
    longest = AgentReport(
        key="f" * KEY_DIGITS,
        sequence=MAX_COUNT,
        version="v" * MAX_HOST,
        zone="z" * MAX_HOST,
        host="h" * MAX_HOST,
        freshness="f" * MAX_HOST,
        age_s=MAX_AGO_S - 0.001,
        services=("s" * MAX_LABEL,) * MAX_NAMED,
        service_count=1_000_000,
        counted_s=MAX_AGO_S - 0.001,
        usage=(Asked("s" * MAX_LABEL, Face.HTTP, MAX_COUNT, MAX_AGO_S - 0.001),) * MAX_REPORT_PAIRS,
        left_out=MAX_COUNT,
        ending=True,
    )
    assert len(msgspec.json.encode(longest)) < MAX_BODY_BYTES - 4096


def test_an_id_follows_from_the_key_alone_and_does_not_show_it() -> None:
    assert agent_id_of("a" * KEY_DIGITS) == agent_id_of("a" * KEY_DIGITS) != agent_id_of("b" * KEY_DIGITS)
    assert agent_id_of("a" * KEY_DIGITS) not in "a" * KEY_DIGITS
