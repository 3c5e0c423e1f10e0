"""The levels of a replica's settings and of their file, at the start and again on SIGHUP."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from registry_core.errors import SettingsError
from registry_core.replica_log_levels import levels_at_start, use_settings_again
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.logs import live_levels


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    root = logging.getLogger().level
    yield
    live_levels.configure(LogLevels())
    logging.getLogger().setLevel(root)


def test_a_file_counts_more_than_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "levels"
    file.write_text("warning,tls=debug\n")
    assert str(levels_at_start(LogLevels("error"), str(file))) == "warning,tls=debug"
    assert levels_at_start(LogLevels("error"), "") == LogLevels("error")


def test_a_wrong_file_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "levels"
    file.write_text("loud")
    with pytest.raises(SettingsError, match=r"REGISTRY_LOG_LEVEL_FILE: .*levels: 'loud' cannot be used: .*error"):
        levels_at_start(LogLevels(), str(file))
    with pytest.raises(SettingsError, match=r"REGISTRY_LOG_LEVEL_FILE: .*No such file"):
        levels_at_start(LogLevels(), str(tmp_path / "none"))


async def test_the_settings_count_again_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "levels"
    file.write_text("info,store=debug")
    live_levels.use(LogLevels("error"))
    with capture_logs() as lines:
        await use_settings_again(LogLevels(), str(file))
        assert str(live_levels.levels) == "info,store=debug"
        file.write_text("info,stroe=debug")
        await use_settings_again(LogLevels(), str(file))
        assert str(live_levels.levels) == "info,store=debug"
        await use_settings_again(LogLevels("warning"), "")
    assert str(live_levels.levels) == "warning"
    assert [line["event"] for line in lines] == ["log_levels_read", "log_levels_kept", "log_levels_read"]
