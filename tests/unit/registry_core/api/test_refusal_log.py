"""Each refused or failed write is logged; what repeats is thinned."""

from __future__ import annotations

from structlog.testing import capture_logs

from registry_core.api.refusal_log import MAX_CAUSES, RefusalLog
from registry_core.errors import Forbidden, NotFound, StoreUnavailable, Unauthorized, VerticeError, Warming
from tests.samples import FakeClock


def note(refusals: RefusalLog, error: VerticeError, service: str = "billing", operation: str = "register") -> None:
    refusals.note(operation, error, service=service, instance="a", client="10.0.0.7")


def test_a_refusal_is_logged_with_all_that_is_known() -> None:
    with capture_logs() as logs:
        note(RefusalLog(FakeClock()), Unauthorized("the token is wrong"))
    assert logs == [
        {
            "event": "write_refused",
            "log_level": "warning",
            "operation": "register",
            "service": "billing",
            "instance": "a",
            "client": "10.0.0.7",
            "error": "Unauthorized",
            "because": "the token is wrong",
            "times": 1,
        }
    ]


def test_a_write_that_failed_is_no_refusal_and_an_ordinary_answer_no_warning() -> None:
    refusals = RefusalLog(FakeClock())
    with capture_logs() as logs:
        note(refusals, StoreUnavailable("no master"))
        note(refusals, NotFound("it is not registered"))
        note(refusals, Warming("it started empty", retry_after_s=1.0))
        refusals.beats_failed(7)
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("write_failed", "warning"),
        ("write_not_done", "info"),
        ("write_not_done", "info"),
        ("heartbeats_failed", "warning"),
    ]


def test_a_flood_is_thinned_for_each_service_operation_and_error() -> None:
    clock = FakeClock()
    refusals = RefusalLog(clock)
    with capture_logs() as logs:
        for _ in range(31):
            for service in ("billing", "mail_relay"):
                note(refusals, Unauthorized("the token is wrong"), service)
            note(refusals, Forbidden("not yours"), operation="set_status")
            clock.pass_time(1.0)
    assert [(log["service"], log["error"], log["times"]) for log in logs] == [
        ("billing", "Unauthorized", 1),
        ("mail_relay", "Unauthorized", 1),
        ("billing", "Forbidden", 1),
        ("billing", "Unauthorized", 30),
        ("mail_relay", "Unauthorized", 30),
        ("billing", "Forbidden", 30),
    ]


def test_ever_new_services_fill_neither_the_log_nor_the_memory() -> None:
    refusals = RefusalLog(FakeClock())
    with capture_logs() as logs:
        for number in range(10_000):
            note(refusals, Unauthorized("the token is wrong"), f"service-{number}" * 10)
    assert len(logs) <= MAX_CAUSES + 1
    assert all(len(log["service"]) <= 64 for log in logs)
