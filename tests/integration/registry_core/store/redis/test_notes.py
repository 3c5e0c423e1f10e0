"""A replica's notes on a master whose settings will lose registrations some day: real servers, and their own INFO."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from registry_core.store.redis import master_notes
from registry_core.store.redis.master_notes import findings
from tests.integration.registry_core.store.redis.test_masters import watching
from tests.programs import VERTICE, eventually, free_port, running, wait_until
from tests.redis_topology import redis_server, topology


def words(notes: tuple[str, ...]) -> list[str]:
    """Return the setting that each note is about."""
    return [note.partition(" is ")[0] for note in notes]


@pytest.mark.parametrize(
    ("info", "about"),
    [
        ({"maxmemory_policy": "noeviction", "aof_enabled": 1, "connected_slaves": 0}, []),
        ({"maxmemory_policy": "noeviction", "aof_enabled": 1, "connected_slaves": 2, "min_slaves_good_slaves": 0}, []),
        ({"maxmemory_policy": "allkeys-lru", "aof_enabled": 1, "connected_slaves": 0}, ["maxmemory-policy"]),
        ({"maxmemory_policy": "noeviction", "aof_enabled": 0, "connected_slaves": 0}, ["appendonly"]),
        ({"maxmemory_policy": "noeviction", "aof_enabled": 1, "connected_slaves": 2}, ["min-replicas-to-write"]),
        ({}, []),
    ],
)
def test_each_note_is_about_one_setting_and_names_its_cure(info: dict[str, Any], about: list[str]) -> None:
    found = findings(info)
    assert words(found) == about
    for note, setting in zip(found, about, strict=True):
        assert f"; set {setting} " in note


async def test_a_single_redis_is_examined_repeatedly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_notes, "LOOK_EVERY_S", 0.1)
    with redis_server(tmp_path / "redis") as server:
        async with watching(server.url) as masters:
            await eventually(lambda: words(masters.notes) == ["appendonly"], "it is seen")
            server.ask("CONFIG", "SET", "appendonly", "yes")
            server.ask("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
            await eventually(lambda: words(masters.notes) == ["maxmemory-policy"], "it is mended, and another broken")
            server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
            await eventually(lambda: not masters.notes, "all is well")
            server.kill()
            await eventually(lambda: bool(masters.problem), "it is missed")
            assert masters.notes == ()


async def test_a_new_master_is_examined_on_its_own(tmp_path: Path) -> None:
    with topology(tmp_path) as whole:
        first = whole.shards[0].nodes[0]
        first.ask("CONFIG", "SET", "appendonly", "yes")
        first.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        async with watching(whole.url) as masters:
            await eventually(lambda: words(masters.notes) == ["maxmemory-policy"], "what is wrong with the first")
            await asyncio.to_thread(first.kill)
            await eventually(lambda: words(masters.notes) == ["appendonly"], "what is wrong with the next")


def test_each_note_is_logged_once_and_the_replica_keeps_serving(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path / "redis", "maxmemory-policy allkeys-lru") as server:
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        with running(argv, tmp_path / "log", {"REGISTRY_STORE": server.url}) as program:

            def said() -> list[dict[str, Any]]:
                lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
                return [line["details"] for line in lines if line["event"] == "redis_settings_unsafe"]

            wait_until(lambda: len(said()) == 2, "both are told")
            server.stop()
            wait_until(lambda: "redis master lost" in program.output(), "it is missed")
            server.start()
            wait_until(lambda: program.output().count("redis master in place") == 2, "it is back")
        assert [details["because"].partition(" is ")[0] for details in said()] == ["maxmemory-policy", "appendonly"]
        assert {details["master"] for details in said()} == {f"127.0.0.1:{server.port}"}
