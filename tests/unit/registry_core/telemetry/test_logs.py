"""The format of a log line, whatever the event and its logger."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping

import pytest

from registry_core.telemetry.logs import for_people, shaped, trace_id

PROGRAM = """
import logging, structlog
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.logs import configure, trace_id
configure(LogLevels(), "registry")
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


ON_TERMINAL = """
import sys, structlog, logging
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.logs import configure
configure(LogLevels(), "agent", sys.argv[1])
structlog.get_logger(component="agent.sync").info("watching", registry="http://a:1", text="\x1b[2J")
logging.getLogger("aiohttp.server").warning("odd \x1b[31m request")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("failed")
"""


def lines_on_a_terminal(form: str, environment: Mapping[str, str]) -> list[str]:
    """Return what the program above writes to a terminal."""
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "CLICOLOR")}
    try:
        subprocess.run(
            [sys.executable, "-c", ON_TERMINAL, form],
            stderr=theirs,
            env={**clean, "TERM": "xterm", **environment},
            timeout=60,
            check=True,
        )
        os.set_blocking(ours, False)
        return os.read(ours, 1 << 16).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_lines_are_for_people() -> None:
    lines = lines_on_a_terminal("auto", {"NO_COLOR": "1"})
    assert not any(line.startswith("{") for line in lines)
    assert "watching [agent.sync] registry=http://a:1" in lines[0]
    assert "[info" in lines[0]
    assert "[warning" in lines[1]
    assert "odd \\x1b[31m request [agent]" in lines[1]
    assert lines[-1].endswith("ZeroDivisionError: division by zero")
    assert not any("\x1b" in line for line in lines)


def test_the_colours_of_a_terminal_follow_the_one_rule() -> None:
    assert any("\x1b[" in line for line in lines_on_a_terminal("auto", {}))
    assert not any("\x1b" in line for line in lines_on_a_terminal("auto", {"TERM": "dumb"}))


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_setting_chooses_the_format_wherever_the_lines_go(form: str) -> None:
    piped = subprocess.run(
        [sys.executable, "-c", ON_TERMINAL, form], capture_output=True, text=True, timeout=60, check=True
    ).stderr.splitlines()
    for line in (piped[0], lines_on_a_terminal(form, {})[0]):
        assert line.startswith("{") is (form == "json")


def test_a_line_for_people_names_its_part_and_its_trace() -> None:
    token = trace_id.set("4bf9")
    try:
        line = for_people("agent")(None, "info", {"event": "e\x07", "exception": "a\nb\x1b", "level": "info"})
    finally:
        trace_id.reset(token)
    assert line == {
        "event": "e\\x07",
        "exception": "a\nb\\x1b",
        "level": "info",
        "logger": "agent",
        "trace_id": "4bf9",
    }
