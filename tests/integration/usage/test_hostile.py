"""Reports that no agent sends: forged, for others, giant, negative, of the future, replayed, and too many of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import msgspec
import pytest

from registry_core.security.identities import Role
from registry_core.security.issued_keys import IssuedKey
from registry_core.security.signing_keys import SigningKey, service_key, shared_key
from registry_core.usage.limits import MAX_REPORT_PAIRS
from registry_core.usage.report import agent_id_of
from tests.integration.replicas import READY, Answer, Api, serving
from tests.integration.signed_requests import signed_request

SECRET: Final = "a-long-random-word"
CLOSED: Final = msgspec.structs.replace(READY, secrets=(SECRET,))
OWN: Final = "a" * 32
READER: Final = IssuedKey("k-000000000001", Role.READER, "r" * 43, datetime(2026, 1, 1, tzinfo=UTC))


def body_of(watch: aiohttp.ClientResponse, **report: Any) -> dict[str, Any]:
    return {
        "watcher": watch.headers["X-Watcher"],
        "cursor": "",
        "report": {"key": OWN, "sequence": 1, **report},
    }


async def reported(
    api: Api, watch: aiohttp.ClientResponse, key: SigningKey | None, report: Mapping[str, Any] | None = None
) -> Answer:
    body = body_of(watch, **(report or {}))
    if key is None:
        return await api.call("POST", "/watch/ack", body)
    return await signed_request(key, "POST", "/watch/ack", body).send(api)


def watching(api: Api) -> Any:
    return api.session.get(f"{api.url}/watch?acknowledges=1")


async def known(api: Api) -> list[tuple[str, list[str]]]:
    part = await api.replica.reports.part()
    return [(one.agent_id, list(one.report.services)) for one in part.agents]


async def test_a_report_needs_a_credential_and_an_acknowledgement_none() -> None:
    async with serving(CLOSED) as api, watching(api) as watch:
        assert (await reported(api, watch, None)).status == 403
        assert await known(api) == []
        bare = {"watcher": watch.headers["X-Watcher"], "cursor": ""}
        assert (await api.call("POST", "/watch/ack", bare)).status == 200
        assert (await reported(api, watch, shared_key(SECRET))).status == 200
        assert await known(api) == [(agent_id_of(OWN), [])]


async def test_who_may_only_read_may_not_report() -> None:
    access = msgspec.structs.replace(CLOSED.access, issued=(READER,))
    async with serving(msgspec.structs.replace(CLOSED, access=access)) as api, watching(api) as watch:
        assert (await reported(api, watch, READER.signing_key)).status == 403
        assert await known(api) == []


async def test_the_key_of_a_service_reports_for_that_service_alone() -> None:
    billing = service_key("billing", SECRET)
    async with serving(CLOSED) as api, watching(api) as watch:
        forged = await reported(api, watch, billing, {"services": ["search"]})
        assert (forged.status, forged.body["field"]) == (403, "report.services")
        assert await known(api) == []
        assert (await reported(api, watch, billing, {"services": ["billing", "search"]})).status == 200
        assert await known(api) == [(agent_id_of(OWN), ["billing"])]


async def test_nobody_reports_in_the_name_of_another_agent() -> None:
    async with serving(CLOSED) as api, watching(api) as watch, watching(api) as other:
        key = shared_key(SECRET)
        used = {"usage": [["billing", "dns", 7, 0]], "services": ["search"]}
        assert (await reported(api, watch, key, used)).status == 200
        (victim,) = (await api.call("GET", "/agents", headers={"X-Registry-Token": SECRET})).body["agents"]
        # All that others can see is the id; as a key it makes another agent, and over the victim's watch none at all.
        forged = {"key": victim["agent_id"] * 2, "sequence": 2**52, "ending": True}
        assert (await reported(api, watch, key, forged)).status == 403
        assert (await reported(api, other, key, forged)).status == 200
        part = await api.replica.reports.part(with_usage=True)
        (seen,) = [one for one in part.agents if one.agent_id == victim["agent_id"]]
        assert (seen.report.ending, [one.count for one in seen.report.usage]) == (False, [7])


async def test_one_watch_cannot_fill_the_list_of_agents() -> None:
    async with serving(READY) as api, watching(api) as watch:
        for number in range(20):
            await reported(api, watch, None, {"key": f"{number:032x}"})
        assert len(await known(api)) == 1
        assert api.replica.reports.results["refused"] == 19


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ({"usage": [["billing", "dns", -5, 0]]}, 400),
        ({"usage": [["billing", "dns", 5, -60]]}, 400),
        ({"usage": [["billing", "dns", 2**53, 0]]}, 400),
        ({"usage": [["billing", "dns", 1, 0]] * (MAX_REPORT_PAIRS + 1)}, 400),
        ({"usage": [["x" * 60 + f"{n:03}", "http", 1, 0] for n in range(MAX_REPORT_PAIRS)], "pad": "x" * 60_000}, 413),
        ({"age_s": -1}, 400),
        ({"sequence": -1}, 400),
        ({"counted_s": 1e12}, 400),
        ({"host": "\x1b[31m"}, 400),
        ({"key": "../../etc/passwd"}, 400),
    ],
)
async def test_what_no_agent_sends_is_refused_as_a_whole(report: dict[str, Any], status: int) -> None:
    async with serving(READY) as api, watching(api) as watch:
        answer = await reported(api, watch, None, report)
        assert answer.status == status
        assert set(answer.body) >= {"error", "message"}
        assert await known(api) == []


async def test_a_report_to_no_watch_is_not_found_and_leaves_nothing() -> None:
    async with serving(READY) as api, watching(api) as watch:
        body = body_of(watch) | {"watcher": "0" * 16 + "-" + "0" * 32}
        assert (await api.call("POST", "/watch/ack", body)).status == 404
        assert await known(api) == []


async def test_a_replayed_report_changes_nothing() -> None:
    async with serving(CLOSED) as api, watching(api) as watch:
        used = {"usage": [["billing", "dns", 7, 0]]}
        request = signed_request(shared_key(SECRET), "POST", "/watch/ack", body_of(watch, **used))
        assert (await request.send(api)).status == 200
        assert (await request.send(api)).status == 401
        assert api.replica.reports.results == {"taken": 1, "late": 0, "refused": 0}
