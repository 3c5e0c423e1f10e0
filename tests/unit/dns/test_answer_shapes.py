"""Answers with records and without: their TTLs and errors by the age of the view, and what is never doubtful."""

from __future__ import annotations

import pytest

from dns.answer_shapes import NOT_READY, STALE_ANSWER, STALE_NXDOMAIN, STALE_TTL_S, AnswerShapes, cannot_tell
from dns.codec import Name, Query, Rcode, Type
from tests.views import StandingView

APEX: Name = (b"vertice", b"internal")
DATA = {Type.A: [b"\x0a\0\0\1"], Type.TXT: [b"\0"]}


def query(qtype: int) -> Query:
    return Query(1, 0, (b"billing", *APEX), qtype, 1, b"", None)


def shapes(*, complete: bool = True, age_s: float = 0.0) -> AnswerShapes:
    view = StandingView(complete=complete)
    view.age(age_s)
    return AnswerShapes(view, APEX, ttl_s=60, negative_ttl_s=30)


def test_a_name_has_the_records_of_the_type_asked_for_or_none_and_the_soa() -> None:
    found = shapes().of_types(query(Type.TXT), DATA)
    assert [(one.type, one.ttl_s) for one in found.answers] == [(Type.TXT, 60)]
    none = shapes().of_types(query(Type.AAAA), DATA)
    assert (none.rcode, none.answers, [(one.owner, one.type, one.ttl_s) for one in none.authority]) == (
        Rcode.NOERROR,
        (),
        [(APEX, Type.SOA, 30)],
    )


@pytest.mark.parametrize(("age_s", "ttl_s", "error"), [(0.0, 60, None), (31.0, STALE_TTL_S, STALE_ANSWER)])
def test_an_old_view_answers_for_a_short_time_and_says_so(age_s: float, ttl_s: int, error: int | None) -> None:
    found = shapes(age_s=age_s).of_types(query(Type.A), DATA)
    assert ([one.ttl_s for one in found.answers], found.extended_error) == ([ttl_s], error)


def test_what_is_missing_is_denied_only_by_a_view_that_holds_all() -> None:
    assert shapes().unknown().rcode is Rcode.NXDOMAIN
    assert shapes(age_s=31.0).unknown().extended_error == STALE_NXDOMAIN
    assert shapes(complete=False).unknown() == cannot_tell()
    assert (cannot_tell().rcode, cannot_tell().extended_error) == (Rcode.SERVFAIL, NOT_READY)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("age_s", [0.0, 31.0])
def test_what_cannot_be_is_denied_at_any_time(complete: bool, age_s: float) -> None:
    denied = shapes(complete=complete, age_s=age_s).unknown(possible=False)
    assert (denied.rcode, denied.extended_error, len(denied.authority)) == (Rcode.NXDOMAIN, None, 1)
