"""The format of a log line, whatever the event and its logger."""

from __future__ import annotations

import json
import subprocess
import sys

from registry_core.telemetry.logs import shaped, trace_id

PROGRAM = """
import logging, structlog
from registry_core.telemetry.logs import configure, trace_id
configure("info", "registry")
log = structlog.get_logger()
log.debug("too quiet")
log.info("replica started", listen="127.0.0.1:8888", odd=object, text="two\\nlines")
trace_id.set("4bf9")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed", details_of="mine")
logging.getLogger("aiohttp.server").warning("said by %s", "another", extra={"ignored": 1})
"""


def test_every_line_is_one_object_with_the_same_six_keys() -> None:
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout == ""
    started, failed, foreign = [json.loads(line) for line in out.stderr.splitlines()]
    for line in (started, failed, foreign):
        assert list(line) == ["timestamp", "level", "component", "event", "details", "trace_id"]
        assert line["component"] == "registry"
    assert (started["level"], started["event"], started["trace_id"]) == ("info", "replica started", None)
    assert started["details"]["listen"] == "127.0.0.1:8888"
    assert started["details"]["text"] == "two\nlines"
    assert "object" in started["details"]["odd"]
    assert (failed["level"], failed["trace_id"]) == ("error", "4bf9")
    assert "ZeroDivisionError" in failed["details"]["exception"]
    assert (foreign["level"], foreign["event"]) == ("warning", "said by another")


def test_a_part_may_name_itself() -> None:
    token = trace_id.set(None)
    try:
        line = shaped("agent")(None, "info", {"event": "e", "component": "sync", "level": "info", "timestamp": "t"})
    finally:
        trace_id.reset(token)
    assert line == {
        "timestamp": "t",
        "level": "info",
        "component": "sync",
        "event": "e",
        "details": {},
        "trace_id": None,
    }
