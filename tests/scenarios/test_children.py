"""The children of `vertice dev` end in time, whatever they do."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cli.dev.children import Child
from tests.programs import eventually

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
SETTINGS = "import os; print(sorted(k for k in os.environ if k.startswith(('AGENT_', 'REGISTRY_', 'SERVICE_'))))"


async def child(code: str, log: Path, **settings: str) -> Child:
    return await Child.start("child", [sys.executable, "-u", "-c", code], settings, log)


async def test_a_child_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deaf = await child(DEAF, log)
    await eventually(lambda: log.read_text() == "deaf\n", "it no longer hears")
    assert not await deaf.stop(0.1)
    assert await deaf.ended() == deaf.exit_code == -9
    assert await deaf.stop(0.1)
    await deaf.kill()


async def test_a_child_ends_on_a_signal_and_has_its_own_session(tmp_path: Path) -> None:
    quick = await child("import time; time.sleep(60)", tmp_path / "log")
    assert os.getsid(quick.pid) == quick.pid
    assert await quick.stop(10)
    assert quick.exit_code == -15


async def test_a_child_ignores_the_users_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_NAME", "somebody")
    monkeypatch.setenv("REGISTRY_URL", "http://elsewhere")
    one = await child(SETTINGS, tmp_path / "log", AGENT_CHECK="tcp")
    assert await one.ended() == 0
    assert await one.last_lines() == ["['AGENT_CHECK']"]


async def test_the_last_output_of_a_child_is_its_last_lines(tmp_path: Path) -> None:
    one = await child("print('x' * 10_000)\nfor n in range(9): print(n, end='\\n\\n')", tmp_path / "log")
    assert await one.ended() == 0
    assert await one.last_lines(3) == ["6", "7", "8"]
    await asyncio.sleep(0)
