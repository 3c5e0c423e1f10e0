"""Two releases on one Redis, this one and the previous one: side by side, in a rolling update, and in its rollback."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
from pathlib import Path

import pytest

from tests.chaos.system import say
from tests.previous import THIS, Release, previous_release
from tests.programs import find, free_port, wait_until
from tests.redis_topology import redis_server, topology
from tests.scenarios.two_releases import QUIET, Place, Reader, Writer, agent, ask, catalog, going_on, replica

pytestmark = pytest.mark.long

STEADY = [f"steady_{number}" for number in range(20)]
TRIO = "trio"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return previous_release(tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def seed() -> int:
    return random.randrange(1_000_000)


def settle(*replicas: Place) -> None:
    """Register the services that are looked up all the time."""
    for number, service in enumerate(STEADY):
        body = {"service_name": service, "instance_id": service, "host": f"10.0.0.{number + 1}", "port": 8034}
        assert ask(replicas[0].port, "POST", "/register", body)[0] == 201


def judge(seed: int, replicas: list[Place], writers: list[Writer], *readers: Reader) -> None:
    """Check the promises: every acknowledged write is present, everywhere alike, and no lookup failed."""
    acknowledged, asked = sum(writer.acknowledged for writer in writers), sum(reader.asked for reader in readers)
    slowest_s = max(writer.slowest_s for writer in writers)
    say(f"seed {seed}: {acknowledged} writes, {asked} lookups, the slowest was seen after {slowest_s:.3f} s")
    assert _broken(*writers, *readers) == []
    expected = {name: status for writer in writers for name, status in writer.expected.items() if status is not None}
    for place in replicas:
        shown = catalog(place)[1]
        assert {name: shown.get(name) for name in expected} == expected, f"{place.release} {place.name}"
        out = [name for writer in writers for name, status in writer.expected.items() if status is None]
        assert [name for name in out if name in shown] == [], f"{place.release} {place.name}"
        assert place.complaints() == []
    wait_until(lambda: len({catalog(place)[0] for place in replicas}) == 1, "all have one digest")


def enough(*workers: Writer | Reader, more: int = 40) -> None:
    """Wait until each of them has progressed: one that is stuck, or has found an error, does not."""
    before = {id(worker): _done(worker) for worker in workers}
    wait_until(
        lambda: all(worker.broken or _done(worker) >= before[id(worker)] + more for worker in workers),
        "everybody goes on",
        timeout_s=60,
    )
    assert _broken(*workers) == []


def _broken(*workers: Writer | Reader) -> list[str]:
    return [broken for worker in workers for broken in worker.broken]


def _done(worker: Writer | Reader) -> int:
    return worker.acknowledged if isinstance(worker, Writer) else worker.asked


@pytest.mark.timeout(180)
@pytest.mark.parametrize("new_first", [False, True], ids=["old-first", "new-first"])
def test_two_releases_side_by_side_see_each_others_writes(
    tmp_path: Path, before: Release, seed: int, *, new_first: bool
) -> None:
    first, second = (THIS, before) if new_first else (before, THIS)
    with topology(tmp_path / "redis", ("a", "b")) as redis, contextlib.ExitStack() as stack:
        places = [replica(tmp_path, name, redis.url) for name in ("one", "two")]
        for place in places:
            stack.callback(place.stop)
        places[0].start(first)
        settle(places[0])
        alone = Writer(0, places[:1], seed)
        with going_on(alone):
            enough(alone)
        places[1].start(second)
        writers = [alone, Writer(1, places, seed), Writer(2, places[::-1], seed)]
        alone.see_at(places)
        readers = [Reader([place], STEADY) for place in places]
        with going_on(*writers, *readers):
            enough(*writers, *readers, more=120)
        judge(seed, places, writers, *readers)


@pytest.mark.timeout(300)
def test_a_rolling_update_and_its_rollback_lose_nothing_and_fail_no_lookup(
    tmp_path: Path, before: Release, seed: int
) -> None:
    with topology(tmp_path / "redis", ("a", "b")) as redis, contextlib.ExitStack() as stack:
        replicas = [replica(tmp_path, name, redis.url) for name in ("one", "two")]
        lookers = [agent(tmp_path, f"looker-{name}", replicas) for name in ("one", "two")]
        trio = [
            agent(
                tmp_path,
                f"trio-{n}",
                replicas,
                {"SERVICE_NAME": TRIO, "SERVICE_HOST": f"127.99.0.{n}", "SERVICE_PORT": "8034"},
            )
            for n in (1, 2, 3)
        ]
        for place in (*trio, *lookers, *replicas):
            stack.callback(place.stop)
        for place in replicas:
            place.start(before)
        settle(*replicas)
        for place, release in zip((*lookers, *trio), (before, THIS, before, THIS, before), strict=True):
            place.start(release)
        wait_until(lambda: all(_trio_at(place) == 3 for place in (*replicas, *lookers)), "all three are there")
        writers = [Writer(1, replicas, seed), Writer(2, replicas[::-1], seed)]
        looked_up = [*STEADY, *[TRIO] * 20]
        readers = [Reader([place], looked_up) for place in lookers] + [Reader(replicas, looked_up)]
        with going_on(*writers, *readers):
            for place, release in [(p, r) for r in (THIS, before) for p in replicas]:
                with QUIET if release is before else contextlib.nullcontext():
                    place.start(release)
                enough(*writers, *readers)
            replicas[0].start(THIS)
            for place, release in [*((p, THIS) for p in trio), *((p, before) for p in trio)]:
                if place.release != release.name:
                    _restart(place, release, [*replicas, *lookers])
            enough(*writers, *readers)
        # One after the other: lookups go to the running agent.
        reader = Reader(lookers, looked_up)
        with going_on(*writers, reader):
            for place, release in zip(lookers, (THIS, before), strict=True):
                place.start(release)
                enough(reader)
        judge(seed, replicas, writers, *readers, reader)
        # What is in Redis is what both show, and what a new replica will show.
        for release in (before, THIS):
            late = replica(tmp_path, f"late-{release.name}", redis.url)
            stack.callback(late.stop)
            late.start(release)
            judge(seed, [*replicas, late], writers)
        for place in (*trio, *lookers):
            assert place.complaints() == []


def _trio_at(place: Place) -> int:
    status, answer = ask(place.port, "GET", f"/services/{TRIO}")
    return len(answer["instances"]) if status == 200 else 0


def _restart(place: Place, release: Release, seen_by: list[Place]) -> None:
    """Restart the agent of one of three, and wait until every agent returns it again."""
    place.stop()
    wait_until(lambda: all(_trio_at(other) == 2 for other in seen_by), "it has left")
    place.start(release)
    wait_until(lambda: all(_trio_at(other) == 3 for other in seen_by), "it is back", timeout_s=30)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("new_registry", [False, True], ids=["new-agent-old-registry", "old-agent-new-registry"])
def test_an_agent_of_one_release_works_with_a_registry_of_the_other(
    tmp_path: Path, before: Release, *, new_registry: bool
) -> None:
    registry, agents = (THIS, before) if new_registry else (before, THIS)
    with redis_server(tmp_path / "redis") as redis, contextlib.ExitStack() as stack:
        place = replica(tmp_path, "registry", redis.url)
        service = {"SERVICE_NAME": "billing", "SERVICE_HOST": "127.99.0.1", "SERVICE_PORT": "8034"}
        service["SERVICE_INSTANCE_ID"] = "billing-1"
        its = agent(tmp_path, "agent", [place], service)
        for one in (its, place):
            stack.callback(one.stop)
        place.start(registry)
        its.start(agents)

        def status() -> str:
            return catalog(place)[1].get("billing-1", "")

        wait_until(lambda: status() == "passing", "it is registered")
        settle(place)
        wait_until(lambda: all(ask(its.port, "GET", f"/services/{one}")[0] == 200 for one in STEADY), "it follows")
        assert ask(its.port, "POST", "/drain?service=billing")[0] == 200
        wait_until(lambda: status() == "draining", "it drains")
        assert ask(its.port, "DELETE", "/drain?service=billing")[0] == 200
        wait_until(lambda: status() == "passing", "it is back in use")
        # Another client deregisters it: its next heartbeat is answered with "unknown", and it registers again.
        assert ask(place.port, "DELETE", "/deregister/billing/billing-1")[0] == 200
        wait_until(lambda: status() == "passing", "it has come back")
        for name in STEADY[::2]:
            assert ask(place.port, "DELETE", f"/deregister/{name}/{name}")[0] == 200
        wait_until(lambda: all(ask(its.port, "GET", f"/services/{one}")[0] == 404 for one in STEADY[::2]), "all left")
        assert all(ask(its.port, "GET", f"/services/{one}")[0] == 200 for one in STEADY[1::2])
        its.stop()
        assert status() == "", "it has taken its service out"
        assert place.complaints() == its.complaints() == []


@pytest.mark.timeout(120)
def test_a_name_of_63_characters_of_the_release_before_breaks_nothing_and_can_be_taken_out(
    tmp_path: Path, before: Release
) -> None:
    """It is answered in every form that is a DNS name, and renewed, but it is not registered anew."""
    long = "n" * 63
    claim = {"service_name": long, "instance_id": "one", "host": "10.9.9.9", "port": 8034, "epoch": 1}
    with redis_server(tmp_path / "redis") as redis, contextlib.ExitStack() as stack:
        place = replica(tmp_path, "registry", redis.url)
        dns = free_port()
        its = agent(tmp_path, "agent", [place], {"AGENT_DNS_LISTEN": f"127.0.0.1:{dns}"})
        for one in (its, place):
            stack.callback(one.stop)
        place.start(before)
        settle(place)
        assert ask(place.port, "POST", "/register", claim)[0] == 201
        place.start(THIS)
        its.start(THIS)

        def dig(*words: str) -> str:
            argv = [find("dig"), "@127.0.0.1", "-p", str(dns), "+short", *words]
            return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout

        zone = "vertice.internal"
        wait_until(lambda: dig(f"{long}.{zone}") == "10.9.9.9\n", "the agent answers with it")
        listed = dig("_services._dns-sd._udp." + zone, "PTR").split()
        assert sorted(listed) == sorted(f"_{name.replace('_', '-')}._tcp.{zone}." for name in STEADY)
        assert ask(its.port, "GET", f"/services/{long}")[0] == 200
        status, refusal = ask(place.port, "POST", "/register", claim)
        assert (status, "at most 62" in json.dumps(refusal)) == (400, True)
        assert ask(place.port, "POST", "/heartbeat", {"service_name": long, "instance_id": "one", "epoch": 1})[0] == 200
        assert ask(place.port, "PUT", f"/status/{long}/one", {"status": "draining", "epoch": 1})[0] == 200
        assert ask(place.port, "DELETE", f"/deregister/{long}/one?epoch=1")[0] == 200
        wait_until(lambda: dig(f"{long}.{zone}") == "", "it is gone")
        assert place.complaints() == its.complaints() == []


@pytest.mark.timeout(120)
def test_the_sockets_of_a_port_are_told_apart_also_where_the_release_before_registered_them(
    tmp_path: Path, before: Release
) -> None:
    """The release before took TCP and UDP for one, and keeps UDP in Redis under the bare host:port."""
    with redis_server(tmp_path / "redis") as redis, contextlib.ExitStack() as stack:
        old, new = (replica(tmp_path, name, redis.url) for name in ("old", "new"))
        its = agent(tmp_path, "old-agent", [old])
        for place in (its, old, new):
            stack.callback(place.stop)

        def register(place: Place, name: str, protocol: str) -> int:
            where = {"host": "10.9.9.9", "port": 5140, "protocol": protocol}
            status, _ = ask(place.port, "POST", "/register", {"service_name": name, "instance_id": name, **where})
            return int(status)

        def leave(place: Place, name: str) -> None:
            assert ask(place.port, "DELETE", f"/deregister/{name}/{name}")[0] == 200

        old.start(before)
        its.start(before)
        settle(old)
        assert register(old, "syslog", "udp") == 201
        new.start(THIS)
        assert register(new, "sip", "tcp") == 201, "beside the one over UDP"
        assert register(new, "snmp", "udp") == 409, "which still has its socket"
        assert register(new, "http", "http") == 409
        assert register(new, "syslog", "udp") == 201, "again"
        pair = ("sip", "syslog")
        wait_until(lambda: all(ask(its.port, "GET", f"/services/{n}")[0] == 200 for n in pair), "an old agent has both")
        assert register(old, "syslog", "udp") in (201, 409), "the release before may take them for one"
        leave(old, "syslog")
        assert register(new, "snmp", "udp") == 201
        leave(new, "sip")
        assert register(old, "http", "http") == 201
        assert register(new, "sip", "tcp") == 409, "the one at the other replica"
        leave(new, "http")
        leave(old, "snmp")
        assert register(new, "syslog", "udp") == 201
        assert register(new, "sip", "tcp") == 201
        wait_until(lambda: catalog(old)[0] == catalog(new)[0], "both replicas show the same")
        assert {"sip", "syslog", "http", "snmp"} & set(catalog(new)[1]) == {"sip", "syslog"}
        assert old.complaints() == new.complaints() == its.complaints() == []


@pytest.mark.timeout(120)
def test_a_name_and_its_address_are_one_place_also_where_the_release_before_registers_them(
    tmp_path: Path, before: Release
) -> None:
    """The release before compares hosts as they are written, and keeps an instance in Redis under that alone."""
    with redis_server(tmp_path / "redis") as redis, contextlib.ExitStack() as stack:
        old, new = (replica(tmp_path, name, redis.url) for name in ("old", "new"))
        for place in (old, new):
            stack.callback(place.stop)
        hosts = {"by-name": ("orders_1", ["172.18.0.5", "fd00::5"]), "by-ip": ("172.18.0.5", ["172.18.0.5"])}

        def register(place: Place, service: str) -> int:
            host, addresses = hosts[service]
            body = {"service_name": service, "instance_id": service, "host": host, "port": 8034, "addresses": addresses}
            return int(ask(place.port, "POST", "/register", body)[0])

        def leave(place: Place, service: str) -> None:
            assert ask(place.port, "DELETE", f"/deregister/{service}/{service}")[0] == 200

        old.start(before)
        settle(old)
        assert register(old, "by-name") == 201
        new.start(THIS)
        assert register(new, "by-ip") == 409, "at the address of the one that the release before registered"
        assert register(new, "by-name") == 201, "its own"
        assert register(old, "by-name") == 201
        leave(old, "by-name")
        assert register(new, "by-ip") == 201, "which is free"
        assert register(new, "by-name") == 409
        leave(new, "by-ip")
        assert register(new, "by-name") == 201
        assert register(old, "by-ip") == 409, "that release looks it up in the same table"
        leave(old, "by-name")
        assert register(old, "by-ip") == 201
        leave(old, "by-ip")
        # Two of the release before stay, and may register again at either, until one leaves.
        new.stop()
        assert register(old, "by-name") == register(old, "by-ip") == 201
        new.start(THIS)
        assert [register(place, service) for place in (new, old) for service in hosts] == [201] * 4
        leave(new, "by-name")
        assert register(new, "by-name") == 409
        leave(old, "by-ip")
        assert register(new, "by-name") == 201
        wait_until(lambda: catalog(old)[0] == catalog(new)[0], "both replicas show the same")
        assert old.complaints() == new.complaints() == []
