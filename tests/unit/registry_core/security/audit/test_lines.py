"""The lines of the audit."""

from __future__ import annotations

import json

import msgspec

from registry_core.ports.audit import AuditEntry
from registry_core.security.audit.lines import AuditLine, CountedEntry, about_log, day_of, iso, line_of

AT = 1_769_904_000.25  # 2026-02-01
ENTRY = AuditEntry(
    time=AT,
    operation="register",
    status=403,
    result="Forbidden",
    service="billing",
    who="service:ip-intel",
    client="10.0.0.7",
    reason='a\nline "end"',
)


def test_a_line_says_who_what_when_where_and_the_result() -> None:
    line = line_of(ENTRY, "eu-1a")
    assert b"\n" not in line
    assert json.loads(line) == {
        "time": "2026-02-01T00:00:00.250Z",
        "replica": "eu-1a",
        "operation": "register",
        "result": "Forbidden",
        "status": 403,
        "service": "billing",
        "who": "service:ip-intel",
        "client": "10.0.0.7",
        "reason": 'a\nline "end"',
    }


def test_an_entry_has_the_same_line_whether_or_not_it_counts_others() -> None:
    for entry in (ENTRY, about_log("audit-opened", AT), AuditEntry(time=AT, operation="register", result="done")):
        counted = msgspec.json.decode(line_of(CountedEntry(entry, 1, AT), 'eu"1'), type=AuditLine)
        counted.since = ""
        assert msgspec.json.encode(counted) == line_of(entry, 'eu"1')


def test_a_line_may_stand_for_several_entries() -> None:
    line = json.loads(line_of(CountedEntry(ENTRY, 1_200, AT - 5), "eu-1a"))
    assert (line["times"], line["since"]) == (1_200, "2026-01-31T23:59:55.250Z")


def test_octets_that_are_no_text_are_replaced() -> None:
    entry = AuditEntry(time=AT, operation="register", status=400, result="ValidationError", service="a\udcff")
    assert json.loads(line_of(entry, "eu-1a"))["service"] == "a?"


def test_a_line_about_the_log_has_no_status() -> None:
    assert "status" not in json.loads(line_of(about_log("audit-opened", AT), "eu-1a"))


def test_times_are_in_utc() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert (day_of(AT - 1), day_of(AT)) == ("20260131", "20260201")
