"""The order of one owner's writes over real HTTP: `X-Registry-Sequence`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.replicas import Answer, Api

HEADER = "X-Registry-Sequence"
ONE = "/ip_intel/10.0.0.7:8034"
CLAIM = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034, "epoch": 5}
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/register", CLAIM),
    ("PUT", f"/status{ONE}", {"status": "critical", "epoch": 5}),
    ("DELETE", f"/deregister{ONE}?epoch=5", None),
    ("DELETE", "/deregister/ip_intel?epoch=5", None),
]


async def send(api: Api, method: str, path: str, body: Any, sequence: int | str | None) -> Answer:
    headers = {} if sequence is None else {HEADER: str(sequence)}
    return await api.call(method, path, body, headers=headers)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_late_write_is_a_conflict_and_changes_nothing(api: Api, method: str, path: str, body: Any) -> None:
    assert (await send(api, "POST", "/register", CLAIM, 10)).status == 201
    digest = api.replica.view.catalog.digest
    answer = await send(api, method, path, body, 9)
    assert (answer.status, answer.body["error"], answer.body["field"]) == (409, "Late", "sequence")
    assert (answer.body["provided"], answer.body["example"]) == (9, 10)
    assert set(answer.body) == {"error", "field", "message", "provided", "example"}
    assert api.replica.view.catalog.digest == digest


@pytest.mark.parametrize(("method", "path", "body"), WRITES[:3])
async def test_a_repeated_write_gets_the_answer_of_the_first(api: Api, method: str, path: str, body: Any) -> None:
    assert (await send(api, "POST", "/register", CLAIM, 10)).status == 201
    first = await send(api, method, path, body, 11)
    digest = api.replica.view.catalog.digest
    again = await send(api, method, path, body, 11)
    assert (again.status, again.body) == (first.status, first.body)
    assert api.replica.view.catalog.digest == digest


async def test_a_deregistered_instance_is_not_restored_by_an_earlier_write(api: Api) -> None:
    assert (await send(api, "POST", "/register", CLAIM, 10)).status == 201
    assert (await send(api, "DELETE", f"/deregister{ONE}?epoch=5", None, 12)).status == 200
    answer = await send(api, "POST", "/register", CLAIM, 11)
    assert (answer.status, answer.body["error"]) == (409, "Late")
    assert (await api.call("GET", "/services")).body == []
    assert (await send(api, "POST", "/register", CLAIM, 13)).status == 201


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("wrong", ["", "-1", "1.5", "0x10", "one", "\u0663", "9007199254740992", "1" * 400, "1, 2"])
async def test_an_invalid_sequence_is_refused(api: Api, method: str, path: str, body: Any, wrong: str) -> None:
    await api.register(epoch=5)
    digest = api.replica.view.catalog.digest
    answer = await send(api, method, path, body, wrong)
    assert (answer.status, answer.body["error"], answer.body["field"]) == (400, "ValidationError", HEADER)
    assert answer.body["example"] == 42
    assert api.replica.view.catalog.digest == digest


async def test_a_sequence_header_may_occur_only_once(api: Api) -> None:
    async with api.session.post(f"{api.url}/register", json=CLAIM, headers=[(HEADER, "1"), (HEADER, "2")]) as response:
        assert response.status == 400
        assert (await response.json())["field"] == HEADER


@pytest.mark.parametrize("bound", [0, 2**53 - 1])
async def test_both_bounds_are_sequences(api: Api, bound: int) -> None:
    assert (await send(api, "POST", "/register", CLAIM, bound)).status == 201


async def test_requests_of_the_previous_release_still_work(api: Api) -> None:
    """Its agents send an epoch and no sequence; they repeat unanswered writes, and register again at will."""
    status = {"status": "warning", "epoch": 5}
    beat = {"instances": [{"service_name": "ip_intel", "instance_id": "10.0.0.7:8034", "epoch": 5}]}
    for _ in range(2):
        for _ in range(2):
            assert (await api.call("POST", "/register", CLAIM)).status == 201
            assert (await api.call("PUT", f"/status{ONE}", status)).body["status"] == "warning"
            answer = await api.call("POST", "/heartbeat", beat)
            assert (answer.status, answer.body["status"]) == (200, "renewed")
        assert (await api.call("DELETE", f"/deregister{ONE}?epoch=5")).status == 200
        assert (await api.call("DELETE", f"/deregister{ONE}?epoch=5")).status == 404
        assert (await api.call("PUT", f"/status{ONE}", status)).status == 404


async def test_owners_with_and_without_sequences_coexist(api: Api) -> None:
    assert (await send(api, "POST", "/register", CLAIM, 10)).status == 201
    operator = await api.call("PUT", f"/status{ONE}", {"status": "maintenance"})
    assert (operator.status, operator.body["status"]) == (200, "maintenance")
    assert (await send(api, "PUT", f"/status{ONE}", {"status": "passing", "epoch": 5}, 9)).status == 409
    assert (await send(api, "PUT", f"/status{ONE}", {"status": "passing", "epoch": 5}, 11)).status == 200
    assert (await api.call("DELETE", "/deregister/ip_intel")).status == 200


async def test_the_sequence_header_is_ignored_by_everything_but_writes(api: Api) -> None:
    await api.register()
    for method, path, body in (
        ("GET", "/services", None),
        ("POST", "/heartbeat", {"service_name": "ip_intel"}),
    ):
        assert (await send(api, method, path, body, "nonsense")).status == 200
