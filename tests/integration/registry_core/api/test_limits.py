"""Rate limits over HTTP: a flood is refused, its neighbours are not, and a living instance keeps its lease."""

from __future__ import annotations

from typing import Any

import msgspec

from registry_core.api.limit_settings import LimitSettings
from registry_core.domain.records import InstanceKey
from tests.integration.replicas import READY, Answer, Api, serving
from tests.samples import FakeClock

SECRET = "a-long-random-word"
RIGHT, WRONG = {"X-Registry-Token": SECRET}, {"X-Registry-Token": "not-the-secret"}
# The tests are the proxy.
BEHIND = msgspec.structs.replace(READY, limits=LimitSettings(trusted_proxies=("127.0.0.1/32",), pause_s=0.0))
CLOSED = msgspec.structs.replace(BEHIND, secrets=(SECRET,))
FLOODER, NEIGHBOUR = "203.0.113.7", "203.0.113.8"


def coming_from(address: str, **more: str) -> dict[str, str]:
    return {"X-Forwarded-For": address, **more}


async def registering(api: Api, number: int, address: str = FLOODER, **more: Any) -> Answer:
    body = {"service_name": "ip_intel", "host": f"10.0.{number // 250}.{number % 250}", "port": 8034}
    body |= {"instance_id": f"i{number}", "epoch": 7} | more
    return await api.call("POST", "/register", body, headers=coming_from(address))


async def beating(api: Api, number: int = 0, address: str = FLOODER, epoch: int = 7) -> Answer:
    body = {"service_name": "ip_intel", "instance_id": f"i{number}", "epoch": epoch}
    return await api.call("POST", "/heartbeat", body, headers=coming_from(address))


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["error"]


async def metric(api: Api, name: str) -> float:
    text = (await api.call("GET", "/metrics")).body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


async def test_a_flood_of_registrations_is_refused_and_renewals_and_neighbours_are_not() -> None:
    clock = FakeClock()
    async with serving(BEHIND, clock=clock) as api:
        statuses = [(await registering(api, number)).status for number in range(150)]
        assert statuses == [201] * 100 + [429] * 50
        refused = await registering(api, 150)
        assert told(refused) == (429, "TooManyRequests")
        assert refused.body["message"] == ("more requests from this address than the limit 'register' allows: 100/s")
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["RateLimit-Policy"] == '"register";q=100;w=1'
        assert refused.headers["RateLimit"] == '"register";r=0;t=1'
        assert (await registering(api, 200, NEIGHBOUR)).status == 201
        assert {(await beating(api, number)).status for number in range(100)} == {200}
        clock.pass_time(1)
        assert (await registering(api, 150)).status == 201, "who waits as told is served"
        clock.pass_time(5)
        assert await metric(api, 'registry_requests_limited_total{limit="register"}') == 51


async def test_a_flood_of_lookups_is_refused_and_probes_are_not() -> None:
    async with serving(BEHIND, clock=FakeClock()) as api:
        await api.register()
        path, headers = "/services/ip_intel", coming_from(FLOODER)
        first = await api.call("GET", path, headers=headers)
        assert (first.status, first.headers.get("RateLimit")) == (200, None), "nearly all of the limit is left"
        statuses = [(await api.call("GET", path, headers=headers)).status for _ in range(600)]
        last = await api.call("GET", path, headers=headers)
        assert (last.status, last.headers["RateLimit"]) == (200, '"lookup";r=398;t=1')
        statuses += [(await api.call("GET", path, headers=headers)).status for _ in range(410)]
        assert statuses == [200] * 998 + [429] * 12
        for probe in ("/live", "/ready"):
            assert (await api.call("GET", probe, headers=headers)).status == 200
        assert (await api.call("GET", path, headers=coming_from(NEIGHBOUR))).status == 200
        assert (await api.call("GET", path)).status == 200, "the proxy itself has no limit"


async def test_what_does_not_exist_is_limited_as_well() -> None:
    async with serving(BEHIND, clock=FakeClock()) as api:
        paths = (f"/nothing/{number}" for number in range(1005))
        statuses = [(await api.call("GET", path, headers=coming_from(FLOODER))).status for path in paths]
        assert statuses == [404] * 1000 + [429] * 5
        assert (await api.call("PATCH", "/register", headers=coming_from(FLOODER))).status == 429
        assert (await api.call("PATCH", "/register", headers=coming_from(NEIGHBOUR))).status == 405


async def test_a_client_of_ipv6_has_one_limit_for_its_whole_network() -> None:
    async with serving(BEHIND, clock=FakeClock()) as api:
        answers = [await registering(api, number, f"2001:db8:1:2::{number:x}") for number in range(110)]
        assert [one.status for one in answers] == [201] * 100 + [429] * 10
        assert (await registering(api, 111, "2001:db8:1:3::1")).status == 201


async def test_a_forged_header_gets_nobody_another_limit() -> None:
    """The attack: another address in each request. The nearest one was written by the proxy."""
    async with serving(BEHIND, clock=FakeClock()) as api:
        answers = [await registering(api, number, f"10.66.0.{number}, {FLOODER}") for number in range(110)]
        assert [one.status for one in answers] == [201] * 100 + [429] * 10


async def test_without_configured_proxies_the_header_is_ignored() -> None:
    async with serving(READY) as api:
        assert (await api.call("GET", "/whoami", headers=coming_from(FLOODER))).body == {"address": "127.0.0.1"}
    async with serving(BEHIND) as api:
        assert (await api.call("GET", "/whoami", headers=coming_from(FLOODER))).body == {"address": FLOODER}


async def test_few_may_be_deregistered_at_once_unless_they_drain() -> None:
    async with serving(BEHIND, clock=FakeClock()) as api:
        for number in range(60):
            await registering(api, number, NEIGHBOUR)
        headers = coming_from(FLOODER)
        paths = [f"/deregister/ip_intel/i{number}" for number in range(60)]
        assert [(await api.call("DELETE", path, headers=headers)).status for path in paths[:12]] == [200] * 10 + [
            429
        ] * 2
        for path in paths[20:]:
            drain = path.replace("deregister", "status")
            assert (await api.call("PUT", drain, {"status": "draining"}, headers=headers)).status == 200
            assert (await api.call("DELETE", path, headers=headers)).status == 200


async def test_a_client_in_a_loop_is_refused_and_its_lease_lives_on() -> None:
    clock = FakeClock()
    async with serving(BEHIND, clock=clock) as api:
        await registering(api, 0)
        statuses = [(await beating(api)).status for _ in range(20)]
        assert statuses == [200] * 10 + [429] * 10
        assert (await beating(api)).headers["Retry-After"] == "6"
        statuses = [(await registering(api, 0)).status for _ in range(20)]
        assert statuses == [201] * 5 + [429] * 15
        for _ in range(40):  # 20 minutes of schedule, while somebody floods with the epoch of a former owner
            clock.pass_time(30)
            for _ in range(12):
                await beating(api, epoch=6)
            assert (await beating(api)).status == 200
        assert len(api.replica.view.catalog) == 1


async def test_in_a_batch_the_repeats_for_fresh_leases_reach_no_store_and_refuse_nobody() -> None:
    """Agents of the release before may send heartbeats more often than the registry asks."""
    clock = FakeClock()
    async with serving(BEHIND, clock=clock) as api:
        for number in range(3):
            await registering(api, number)
        both = [{"service_name": "ip_intel", "instance_id": f"i{number}", "epoch": 7} for number in (0, 1)]
        keys = [InstanceKey("ip-intel", f"i{number}") for number in (0, 1)]
        for _ in range(10):
            await api.call("POST", "/heartbeat", {"instances": both[:1]})
        clock.pass_time(1)
        answer = await api.call("POST", "/heartbeat", {"instances": both})
        assert (answer.status, answer.body["status"]) == (200, "renewed")
        assert [api.replica.view.ttl_remaining_s(key) for key in keys] == [59.0, 60.0]
        clock.pass_time(30)
        await api.call("POST", "/heartbeat", {"instances": both})
        assert [api.replica.view.ttl_remaining_s(key) for key in keys] == [60.0, 60.0]


async def test_wrong_secrets_are_refused_unread_after_some_and_a_known_one_still_passes() -> None:
    clock = FakeClock()
    async with serving(CLOSED, clock=clock) as api:
        body = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
        good, bad = coming_from(FLOODER, **RIGHT), coming_from(FLOODER, **WRONG)
        assert (await api.call("POST", "/register", body, headers=good)).status == 201
        statuses = [(await api.call("POST", "/register", body, headers=bad)).status for _ in range(60)]
        assert statuses == [401] * 10 + [429] * 50
        assert (await api.call("POST", "/register", body, headers=good)).status == 201, "behind the same address"
        guess = coming_from(FLOODER, **{"X-Registry-Token": "another guess"})
        assert (await api.call("POST", "/register", body, headers=guess)).status == 429
        assert (await api.call("POST", "/register", body, headers=coming_from(NEIGHBOUR, **WRONG))).status == 401
        clock.pass_time(5)
        assert await metric(api, 'registry_writes_refused_total{error="Unauthorized"}') == 11


async def test_a_right_guess_is_not_told_while_the_limit_is_used_up() -> None:
    async with serving(CLOSED, clock=FakeClock()) as api:
        body = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
        for _ in range(11):
            await api.call("POST", "/register", body, headers=coming_from(FLOODER, **WRONG))
        assert (await api.call("POST", "/register", body, headers=coming_from(FLOODER, **RIGHT))).status == 429
        assert (await api.call("POST", "/register", body, headers=coming_from(NEIGHBOUR, **RIGHT))).status == 201
        assert (await api.call("POST", "/register", body, headers=coming_from(FLOODER, **RIGHT))).status == 201


async def test_a_fleet_behind_one_address_asserts_itself_within_seconds_after_its_store_was_lost() -> None:
    """Each comes at once, and waits as it is told; the registry is warming until it knows them again."""
    clock = FakeClock()
    async with serving(msgspec.structs.replace(BEHIND, warming_s=60.0), clock=clock) as api:
        waiting = list(range(500))
        for _ in range(3):
            waiting = [number for number in waiting if (await registering(api, number)).status == 429]
            clock.pass_time(1)
        assert waiting == []
        assert len(api.replica.view.catalog) == 500
        clock.pass_time(30)
        assert {(await beating(api, number)).status for number in range(500)} == {200}


async def test_a_fleet_that_is_known_asserts_itself_at_once() -> None:
    """After a failover every instance of a fleet registers again, at once, perhaps through one address."""
    clock = FakeClock()
    async with serving(BEHIND, clock=clock) as api:
        for number in range(500):
            if (await registering(api, number)).status == 429:
                clock.pass_time(1)
                assert (await registering(api, number)).status == 201
        clock.pass_time(1)
        for _ in range(2):
            assert {(await registering(api, number)).status for number in range(500)} == {201}


async def test_limits_can_be_off() -> None:
    off = LimitSettings(
        trusted_proxies=("127.0.0.1/32",), register=None, failed_auth=None, instance_registrations=None, lookup=None
    )
    async with serving(msgspec.structs.replace(READY, limits=off), clock=FakeClock()) as api:
        answers = [await registering(api, number % 2) for number in range(300)]
        assert {one.status for one in answers} == {201}
        assert "RateLimit" not in answers[-1].headers
