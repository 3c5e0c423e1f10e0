"""The watch stream over real HTTP: what a reader is sent, and when it gets a new snapshot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from registry_core.api.connections import ConnectionLimits
from registry_core.api.hub import HubLimits
from registry_core.api.watcher import Watcher
from registry_core.domain.events import Position, Registered
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import GOODBYE_LEAST_S, PART_BYTES, PROTOCOL_HEADER
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually
from tests.samples import FakeClock, instance


class Stream:
    """A reader of one stream, line by line."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def line(self) -> dict[str, Any]:
        """Return the next line."""
        raw = await asyncio.wait_for(self.response.content.readuntil(b"\n"), 15)
        assert raw.endswith(b"\n"), "the stream ended"
        decoded: dict[str, Any] = msgspec.json.decode(raw)
        return decoded

    async def lines(self, count: int) -> list[dict[str, Any]]:
        return [await self.line() for _ in range(count)]

    async def lines_until(self, kind: str) -> list[dict[str, Any]]:
        """Return the lines up to and including the next one of that type."""
        read = [await self.line()]
        while read[-1]["type"] != kind:
            read.append(await self.line())
        return read


@contextlib.asynccontextmanager
async def watching(api: Api, query: str = "") -> AsyncIterator[Stream]:
    async with api.session.get(f"{api.url}/watch{query}", timeout=aiohttp.ClientTimeout(total=30)) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/x-ndjson"
        yield Stream(response)


@contextlib.asynccontextmanager
async def watching_version_2(api: Api) -> AsyncIterator[Stream]:
    asked = {PROTOCOL_HEADER: "2"}
    async with api.session.get(f"{api.url}/watch", headers=asked, timeout=aiohttp.ClientTimeout(total=30)) as response:
        yield Stream(response)


async def test_a_new_reader_gets_a_snapshot_a_sync_and_then_each_change(api: Api) -> None:
    await api.register()
    async with watching(api) as stream:
        snapshot, sync = await stream.lines(2)
        assert (snapshot["type"], snapshot["reason"], snapshot["state"]) == ("snapshot", "start", "ready")
        assert snapshot["first"] is snapshot["last"] is True
        assert [lived["instance"]["port"] for lived in snapshot["instances"]] == [8034]
        assert (sync["type"], sync["cursor"], sync["digest"]) == ("sync", snapshot["cursor"], snapshot["digest"])
        assert sync["digest"] == api.replica.view.catalog.digest

        await api.register(port=8035)
        await api.call("PUT", "/status/ip_intel/10.0.0.7:8035", {"status": "critical"})
        await api.register("billing", port=8035)  # takes over the address of the critical one
        await api.call("DELETE", "/deregister/ip_intel/10.0.0.7:8034")
        lines = await stream.lines(5)
    assert [line["type"] for line in lines] == [
        "registered",
        "status_changed",
        "deregistered",
        "registered",
        "deregistered",
    ]
    assert lines[0]["instance"]["instance_id"] == "10.0.0.7:8035"
    assert (lines[1]["service_name"], lines[1]["status"]) == ("ip_intel", "critical")
    assert lines[-1]["cursor"] == str(api.replica.view.cursor)


async def test_a_resumed_reader_gets_exactly_what_it_missed(api: Api) -> None:
    await api.register()
    async with watching(api) as stream:
        await stream.lines(2)
        await api.register(port=8035)
        cursor = (await stream.line())["cursor"]
    await api.register(port=8036)
    await api.register(port=8037)
    async with watching(api, f"?cursor={cursor}") as stream:
        first, second, sync = await stream.lines(3)
    assert [first["instance"]["port"], second["instance"]["port"]] == [8036, 8037]
    assert (sync["type"], sync["cursor"]) == ("sync", second["cursor"])


async def test_a_reader_with_a_cursor_of_another_epoch_gets_everything(api: Api) -> None:
    await api.register()
    for cursor in ("0.another.1", str(api.replica.view.cursor).rpartition(".")[0] + ".99", "0.a.1~1.a.1"):
        async with watching(api, f"?cursor={cursor}") as stream:
            line = await stream.line()
        assert (line["type"], line["reason"]) == ("snapshot", "epoch")


async def test_a_reader_that_is_too_far_behind_gets_everything() -> None:
    async with serving(hub_limits=HubLimits(history_events=3)) as api:
        await api.register(port=8001)
        cursor = str(api.replica.view.cursor)
        for port in range(8002, 8005):
            await api.register(port=port)
        async with watching(api, f"?cursor={cursor}") as stream:
            assert [line["type"] for line in await stream.lines(4)] == ["registered"] * 3 + ["sync"]
        await api.register(port=8005)
        async with watching(api, f"?cursor={cursor}") as stream:
            line = await stream.line()
        assert (line["type"], line["reason"], len(line["instances"])) == ("snapshot", "behind", 5)


async def test_a_large_snapshot_comes_in_parts(api: Api) -> None:
    for port in range(8001, 8001 + 600):
        await api.register(port=port)
    async with watching(api) as stream:
        *parts, sync = await stream.lines_until("sync")
    assert len(parts) > 1
    assert sum(len(part["instances"]) for part in parts) == 600
    assert [part["first"] for part in parts] == [True, *[False] * (len(parts) - 1)]
    assert [part["last"] for part in parts] == [*[False] * (len(parts) - 1), True]
    assert [bool(part["cursor"]) for part in parts] == [part["last"] for part in parts]
    assert max(len(msgspec.json.encode(part)) for part in parts) < 2 * PART_BYTES
    assert parts[-1]["digest"] == sync["digest"]


async def test_a_reader_that_wants_one_snapshot_gets_it_and_then_the_end(api: Api) -> None:
    await api.register("ip_intel")
    await api.register("billing", port=9000)
    answered = await api.session.get(f"{api.url}/watch?service=billing&once=true")
    lines = [msgspec.json.decode(line) for line in (await answered.read()).splitlines()]
    assert [line["type"] for line in lines] == ["snapshot", "sync"]
    assert [lived["instance"]["service_name"] for lived in lines[0]["instances"]] == ["billing"]
    assert len(api.replica.hub) == 0


async def test_a_single_snapshot_leaves_out_later_events(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.register("billing", port=9000)
    opened = api.replica.hub.open

    def open_and_change(cursor: Cursor, **more: Any) -> Watcher:
        watcher = opened(cursor, **more)
        position = api.replica.view.cursor.positions[0]
        next_one = Position(position.shard, position.epoch, position.revision + 1)
        api.replica.view.apply([Registered(next_one, instance("billing", port=9001), 1.0)])
        return watcher

    monkeypatch.setattr(api.replica.hub, "open", open_and_change)
    answered = await api.session.get(f"{api.url}/watch?service=billing&once=true")
    lines = [msgspec.json.decode(line) for line in (await answered.read()).splitlines()]
    assert [line["type"] for line in lines] == ["snapshot", "sync"]
    assert lines[0]["cursor"] == lines[1]["cursor"]


@pytest.mark.parametrize(("asked", "confirmed"), [(None, "1"), ("1", "1"), ("2", "2"), ("7", "2")])
async def test_the_protocol_version_is_the_newest_that_both_know(api: Api, asked: str | None, confirmed: str) -> None:
    headers = {} if asked is None else {PROTOCOL_HEADER: asked}
    answered = await api.session.get(f"{api.url}/watch?once=true", headers=headers)
    assert answered.headers[PROTOCOL_HEADER] == confirmed
    lines = [msgspec.json.decode(line) for line in (await answered.read()).splitlines()]
    assert ("late_after_s" in lines[-1]) == (confirmed == "2")


@pytest.mark.parametrize("asked", ["0", "two", "-1", "2.0", "99999", "\u0662"])
async def test_an_invalid_version_is_refused(api: Api, asked: str) -> None:
    answered = await api.session.get(f"{api.url}/watch?once=true", headers={PROTOCOL_HEADER: asked})
    assert answered.status == 400
    assert (await answered.json())["field"] == PROTOCOL_HEADER


async def test_an_event_has_the_digest_after_it(api: Api) -> None:
    await api.register("billing", port=9000)
    async with watching(api) as stream:
        await stream.lines(2)
        await api.register("billing", port=9001)
        appeared = await stream.line()
        assert appeared["digest"] == api.replica.view.catalog.digest
        await api.call("DELETE", "/deregister/billing?all=true")
        gone = await stream.lines(2)
    assert [line["count"] for line in (appeared, *gone)] == [2, 1, 0]
    assert gone[-1]["digest"] == "0" * 16


async def test_a_reader_of_one_service_gets_only_its_events(api: Api) -> None:
    await api.register("ip_intel")
    await api.register("billing", port=9000)
    async with watching(api, "?service=ip-intel") as stream:
        snapshot, sync = await stream.lines(2)
        assert [lived["instance"]["service_name"] for lived in snapshot["instances"]] == ["ip_intel"]
        assert snapshot["digest"] == api.replica.view.catalog.digest_of("ip-intel")
        assert sync["digest"] == "", "the digest of everything is useless to this reader"
        await api.register("billing", port=9001)
        await api.register("ip_intel", port=8035)
        line = await stream.line()
    assert (line["type"], line["instance"]["service_name"]) == ("registered", "ip_intel")
    assert line["cursor"] == str(api.replica.view.cursor)
    async with watching(api, f"?service=ip_intel&cursor={snapshot['cursor']}") as stream:
        again, sync = await stream.lines(2)
    assert (again["instance"]["port"], sync["type"]) == (8035, "sync")


async def test_renewals_are_batched_and_sent_before_the_sync_on_request(api: Api) -> None:
    await api.register("ip_intel")
    await api.register("billing", port=9000)
    async with (
        watching(api, "?renewals=1") as curious,
        watching(api) as plain,
        watching(api, "?renewals=true&service=billing") as one,
    ):
        for stream in (curious, plain, one):
            await stream.lines(2)
        for _ in range(2):
            await api.call("POST", "/heartbeat", {"instances": [{"service_name": s} for s in ("ip_intel", "billing")]})
        api.replica.hub.tick()
        renewed, sync = await curious.lines(2)
        assert (renewed["type"], sync["type"]) == ("renewed", "sync")
        assert sorted(row[:2] for row in renewed["renewed"]) == [
            ["billing", "10.0.0.7:9000"],
            ["ip_intel", "10.0.0.7:8034"],
        ]
        assert (await plain.line())["type"] == "sync"
        assert [row[0] for row in (await one.line())["renewed"]] == ["billing"]
        api.replica.hub.tick()
        assert (await curious.line())["type"] == "sync", "nothing was renewed since"


async def test_the_end_of_the_warming_is_sent_at_once() -> None:
    async with serving(msgspec.structs.replace(READY, warming_s=0.3)) as api, watching(api) as stream:
        snapshot, sync = await stream.lines(2)
        assert (snapshot["state"], sync["state"]) == ("warming", "warming")
        while sync["state"] == "warming":
            sync = await stream.line()
        assert (sync["type"], sync["state"]) == ("sync", "ready")


async def test_expiries_are_sent() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await api.register()
        async with watching(api) as stream:
            await stream.lines(2)
            for _ in range(75):
                clock.pass_time(1)
                await api.replica.store.sweep()
            line = await stream.line()
            while line["type"] == "sync":
                line = await stream.line()
    assert (line["type"], line["service_name"], line["instance_id"]) == ("expired", "ip_intel", "10.0.0.7:8034")


async def test_a_slow_reader_loses_its_queue_and_gets_a_new_snapshot() -> None:
    async with serving(hub_limits=HubLimits(queue_lines=8)) as api:
        metadata = {"filler": "x" * 7000}
        async with watching(api) as stream:
            await stream.lines(2)
            # More than the sockets' buffers and the queue can hold together.
            for round_ in range(6000):
                await api.register(port=8000 + round_ % 50, metadata={**metadata, "round": round_})
                (watcher,) = api.replica.hub.watchers
                if watcher.outbox.owes is not None:
                    break
            assert watcher.outbox.owes == "lagged"
            line = await stream.line()
            while line["type"] != "snapshot":
                line = await stream.line()
            assert line["reason"] == "lagged"
            *_, sync = await stream.lines_until("sync")
        assert sync["digest"] == api.replica.view.catalog.digest


async def test_a_reader_that_reads_nothing_is_disconnected() -> None:
    limits = ConnectionLimits(unread_s=0.2)
    async with serving(hub_limits=HubLimits(queue_lines=8), connection_limits=limits) as api, watching(api) as stream:
        for round_ in range(6000):
            await api.register(port=8000 + round_ % 50, metadata={"filler": "x" * 7000, "round": round_})
            if not len(api.replica.hub):
                break
        await eventually(lambda: not len(api.replica.hub), "the watcher is gone")
        with pytest.raises((aiohttp.ClientError, AssertionError, asyncio.IncompleteReadError)):
            await stream.lines(1_000_000)


async def test_the_number_of_watchers_is_limited() -> None:
    async with serving(hub_limits=HubLimits(watchers=1)) as api, watching(api):
        answer = await api.call("GET", "/watch")
        assert (answer.status, answer.body["error"]) == (503, "Overloaded")
        assert "Retry-After" in answer.headers
        assert (await api.call("GET", "/services")).status == 200


async def test_a_reader_that_leaves_is_forgotten(api: Api) -> None:
    async with watching(api) as stream:
        await stream.lines(2)
        assert len(api.replica.hub) == 1
        stream.response.close()

    def noticed() -> bool:
        api.replica.hub.tick()  # only writing shows that nobody reads
        return not len(api.replica.hub)

    await eventually(noticed, "the watcher is gone")


async def test_a_replica_that_stops_sends_its_readers_on() -> None:
    others = ("http://10.0.0.2:8888", "http://10.0.0.3:8888")
    async with serving(msgspec.structs.replace(READY, peers=others)) as api, watching_version_2(api) as stream:
        await stream.lines(2)
        await api.replica.close()
        farewell = await stream.line()
        assert farewell == {"type": "goodbye", "within_s": GOODBYE_LEAST_S, "replicas": list(others)}
        assert await asyncio.wait_for(stream.response.content.read(), 10) == b""


async def test_a_reader_of_version_1_gets_no_line_that_it_does_not_know(api: Api) -> None:
    async with watching(api) as stream:
        await stream.lines(2)
        await api.replica.close()
        assert await asyncio.wait_for(stream.response.content.read(), 10) == b""


async def test_a_replica_that_stops_is_not_ready(api: Api) -> None:
    api.replica.hub.close()
    ready = await api.call("GET", "/ready")
    assert (ready.status, ready.body["status"]) == (503, "stopping")
    assert (await api.call("GET", "/live")).status == 200
