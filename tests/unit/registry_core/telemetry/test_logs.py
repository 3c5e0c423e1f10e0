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
    assert [line["component"] for line in (started, failed, foreign)] == ["registry", "registry", "aiohttp"]
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
    assert "odd \\x1b[31m request [aiohttp]" in lines[1]
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


LEVELLED = """
import logging, sys, structlog
from registry_core.telemetry.log_levels import levels_reader, AGENT_COMPONENTS
from registry_core.telemetry.logs import configure, live_levels
configure(levels_reader(AGENT_COMPONENTS)("warning,dns=debug,asyncio=error"), "agent", "json")
def say(text):
    for component in ("agent.sync", "dns.forwarding"):
        structlog.get_logger(component=component).debug(text)
        structlog.get_logger(component=component).exception(text)
    structlog.get_logger().info(text)
    logging.getLogger("asyncio").warning(text)
    logging.getLogger("aiohttp.client").warning(text)
say("before")
live_levels.use(levels_reader(AGENT_COMPONENTS)("info"))
say("changed")
live_levels.configure(live_levels.configured)
say("after")
"""


def test_levels_hold_for_components_and_libraries_and_change_while_running() -> None:
    out = subprocess.run([sys.executable, "-c", LEVELLED], capture_output=True, text=True, timeout=30, check=True)
    lines = [json.loads(line) for line in out.stderr.splitlines()]
    told: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        told.setdefault(line["event"], []).append((line["component"], line["level"]))
    assert told["before"] == [
        ("agent.sync", "error"),
        ("dns.forwarding", "debug"),
        ("dns.forwarding", "error"),
        ("aiohttp", "warning"),
    ]
    assert told["changed"] == [
        ("agent.sync", "error"),
        ("dns.forwarding", "error"),
        ("agent", "info"),
        ("asyncio", "warning"),
        ("aiohttp", "warning"),
    ]
    assert told["after"] == told["before"]


SECRETIVE = """
import asyncio, logging, structlog
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.logs import configure, hide
configure(LogLevels("debug"), "registry", "json")
hide(["hunter2-of-redis"])
log = structlog.get_logger()
log.info("opened", url="redis://app:other-password@h:6379/0", nested={"why": ["hunter2-of-redis"]})
try:
    raise ConnectionError("redis://:hunter2-of-redis@h:6379 is away")
except ConnectionError:
    log.exception("failed")
    logging.getLogger("redis").exception("hunter2-of-redis of %s", "hunter2-of-redis")
logging.getLogger("aiohttp.server").error("bad request %r", {"X-Registry-Token": "a wrong one", "Host": "x"})
logging.getLogger("aiohttp.server").error("%s", b"GET / HTTP/1.1\\r\\nAuthorization: Bearer abcdef0123456789\\r\\nX: y")

async def dies():
    raise ValueError("token=hunter2-of-redis")

async def main():
    asyncio.get_running_loop().call_soon(lambda: 1 / len(""), )
    task = asyncio.ensure_future(dies())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task

asyncio.run(main())
"""


def test_no_line_holds_a_secret_tracebacks_and_foreign_lines_included() -> None:
    out = subprocess.run([sys.executable, "-c", SECRETIVE], capture_output=True, text=True, timeout=30, check=True)
    lines = out.stderr.splitlines()
    assert len(lines) >= 6
    for secret in ("hunter2", "other-password", "a wrong one", "abcdef0123456789"):
        assert secret not in out.stderr, secret
    assert all(json.loads(line)["event"] for line in lines)
    assert "Host" in out.stderr
