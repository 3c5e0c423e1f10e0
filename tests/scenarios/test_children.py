"""The children of `vertice dev` are ended in time, whatever they do."""

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


async def test_one_that_does_not_hear_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deaf = await child(DEAF, log)
    await eventually(lambda: log.read_text() == "deaf\n", "it no longer hears")
    assert not await deaf.stop(0.1)
    assert await deaf.ended() == deaf.exit_code == -9
    assert await deaf.stop(0.1)
    await deaf.kill()


async def test_one_that_hears_ends_by_itself_and_in_a_session_of_its_own(tmp_path: Path) -> None:
    quick = await child("import time; time.sleep(60)", tmp_path / "log")
    assert os.getsid(quick.pid) == quick.pid
    assert await quick.stop(10)
    assert quick.exit_code == -15


async def test_it_obeys_none_of_the_settings_that_the_user_has_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_NAME", "somebody")
    monkeypatch.setenv("REGISTRY_URL", "http://elsewhere")
    one = await child(SETTINGS, tmp_path / "log", AGENT_CHECK="tcp")
    assert await one.ended() == 0
    assert await one.last_lines() == ["['AGENT_CHECK']"]


async def test_its_last_words_are_its_last_lines(tmp_path: Path) -> None:
    one = await child("print('x' * 10_000)\nfor n in range(9): print(n, end='\\n\\n')", tmp_path / "log")
    assert await one.ended() == 0
    assert await one.last_lines(3) == ["6", "7", "8"]
    await asyncio.sleep(0)
