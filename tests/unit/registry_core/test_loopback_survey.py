"""LoopbackSurvey: it looks rarely, in a thread, and its end is of no consequence where nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import registry_core.loopback_survey as module
from registry_core.loopback_survey import LoopbackSurvey
from tests.programs import eventually


async def test_it_looks_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def peers(port: int) -> dict[int, str]:
        asked.append(port)
        return {4711: "pid 66"}

    monkeypatch.setattr(module, "loopback_peers", peers)
    found: list[Mapping[int, str]] = []
    survey = LoopbackSurvey(found.append)
    for _ in range(3):
        survey.begin(8888)
    await eventually(lambda: bool(found), "it is known")
    assert (asked, found) == ([8888], [{4711: "pid 66"}])


async def test_where_nobody_can_tell_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(_port: int) -> dict[int, str]:
        raise OSError("no /proc")

    monkeypatch.setattr(module, "loopback_peers", no_proc)
    survey = LoopbackSurvey(lambda _owners: pytest.fail("nothing was found"))
    survey.begin(8888)
    await eventually(lambda: survey._threads._places.acquire(blocking=False), "the thread has ended")
    survey._surveyed_at = None
    survey.begin(8888)  # while no thread is free
    survey._threads._places.release()
