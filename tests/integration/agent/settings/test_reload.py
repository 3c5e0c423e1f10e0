"""New settings in a running agent: the effects of a changed file, and what an invalid one leaves alone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from agent.registration.identity import AgentIdentity
from agent.settings.reload_plan import LIVE, NEED_RESTART, planned
from agent.settings.settings import AgentSettings, read_agent_settings
from agent.sidecar import Sidecar
from agent.view.state_dir import StateDir
from registry_core.domain.records import Status
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.sending import SenderKeys
from registry_core.security.signing_keys import shared_key
from registry_core.settings import Listen
from tests.integration.agents import AgentUnderTest, StandIn, becomes, stand_in
from tests.integration.replicas import Api, serving
from tests.programs import eventually

AGENT = """[agent]
http_listen = "127.0.0.1:0"
dns_listen = "127.0.0.1:0"
dns_forward = "none"
heartbeat_interval = 0.3
check_interval = 0.1
check = "none"
drain_wait = 0
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.settings.reload.POLL_S", 0.05)


class Reloaded(AgentUnderTest):
    """An agent, and the file that it reads."""

    def __init__(self, sidecar: Sidecar, session: aiohttp.ClientSession, file: Path) -> None:
        super().__init__(sidecar, session)
        self.file = file

    async def write(self, text: str, head: str = AGENT) -> None:
        """Replace the file as a whole."""
        await asyncio.to_thread(_write, self.file, head + text)

    async def about(self) -> Any:
        return (await self.get("/self")).body["reload"]

    async def taken(self) -> object:
        return (await self.about())["taken"]

    async def watched(self) -> object:
        return (await self.get("/self")).body["sync"]["registry"]

    async def metrics_say_failed(self) -> object:
        return "agent_config_reload_failed 1.0" in await self.metrics()

    async def metrics(self) -> str:
        found: str = (await self.get("/metrics")).body.decode()
        return found


def _write(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def service(name: str, port: int = 7000, **more: object) -> str:
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in more.items()]
    host = "" if "host" in more else 'host = "10.0.0.1"\n'
    return f'[[service]]\nname = "{name}"\nport = {port}\n{host}' + "\n".join(lines) + "\n"


@contextlib.asynccontextmanager
async def reloading(
    folder: Path, url: str, text: str, environment: Mapping[str, str] | None = None, head: str = AGENT
) -> AsyncIterator[Reloaded]:
    file = folder / "agent.toml"
    variables = {"REGISTRY_URL": url, **(environment or {})} if url else dict(environment or {})

    def read() -> AgentSettings:
        return read_agent_settings(variables, file)

    await asyncio.to_thread(_write, file, head + text)
    settings = await asyncio.to_thread(read)
    sidecar = Sidecar(settings, read_again=read)
    await sidecar.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Reloaded(sidecar, session, file)
    finally:
        await sidecar.close()


def names(api: Api) -> list[str]:
    return api.replica.view.catalog.names()


async def test_services_come_go_and_change_with_the_file(api: Api, tmp_path: Path) -> None:
    before = service("stays") + service("goes", 7001) + service("changes", 7002, instance_id="c", weight=1)
    async with reloading(tmp_path, api.url, before) as agent:
        await eventually(lambda: names(api) == ["changes", "goes", "stays"], "all are registered")
        catalog = api.replica.view.catalog
        untouched = next(i for i in catalog if i.service_name == "stays").registered_at
        epoch = next(i for i in catalog if i.instance_id == "c").epoch
        after = service("stays") + service("comes", 7003)
        more = {"instance_id": "c", "weight": 9, "tags": ["blue"], "version": "1.2.3"}
        await agent.write(after + service("changes", 7002, **more) + 'metadata = {team = "osint"}')
        await eventually(lambda: names(api) == ["changes", "comes", "stays"], "they are others")
        await eventually(
            lambda: next(i for i in catalog if i.service_name == "changes").weight == 9, "it is registered anew"
        )
        changed = next(i for i in catalog if i.service_name == "changes")
        assert (changed.instance_id, changed.tags, changed.metadata) == ("c", ("blue",), {"team": "osint"})
        assert changed.epoch == epoch
        assert next(i for i in catalog if i.service_name == "stays").registered_at == untouched
        assert (await agent.about())["taken"] == 1


async def test_a_slow_disk_at_the_start_makes_no_reload_register_services_again(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its late answer is no reason to use other ids."""
    goes_on, answered = threading.Event(), threading.Event()
    read_at_once, close_at_once = StateDir.read_identity, StateDir.close

    def read_slowly(state: StateDir) -> AgentIdentity:
        goes_on.wait(30)
        return read_at_once(state)

    def close(state: StateDir) -> None:
        close_at_once(state)
        answered.set()

    monkeypatch.setattr(StateDir, "read_identity", read_slowly)
    monkeypatch.setattr(StateDir, "close", close)
    monkeypatch.setattr("agent.view.last_run.STATE_S", 0.05)
    head = f"{AGENT}state_dir = {msgspec.json.encode(str(tmp_path / 'state')).decode()}\n"
    async with reloading(tmp_path, api.url, service("stays"), head=head) as agent:
        await eventually(lambda: names(api) == ["stays"], "it is registered")
        catalog = api.replica.view.catalog
        before = [(i.instance_id, i.registered_at) for i in catalog]
        goes_on.set()
        await eventually(answered.is_set, "the disk has answered")
        await agent.write(service("stays") + service("comes", 7003), head)
        await eventually(lambda: names(api) == ["comes", "stays"], "the file was taken")
        ids = {one["service_name"]: one["instance_id"] for one in (await agent.get("/self")).body["services"]}
        assert ids["stays"] == before[0][0]
        seen = [(i.instance_id, i.registered_at, i.status) for i in catalog if i.service_name == "stays"]
        assert seen == [(*before[0], Status.PASSING)]


async def test_a_removed_service_is_drained_first(api: Api, tmp_path: Path) -> None:
    head = AGENT.replace("drain_wait = 0", "drain_wait = 0.5")
    async with reloading(tmp_path, api.url, service("stays") + service("goes", 7001), head=head) as agent:
        await eventually(lambda: len(names(api)) == 2, "both are registered")
        await agent.write(service("stays"), head)

        def status() -> Status | None:
            return next((i.status for i in api.replica.view.catalog if i.service_name == "goes"), None)

        await eventually(lambda: status() is Status.DRAINING, "it says that it goes")
        await eventually(lambda: status() is None, "it is gone")


async def test_a_renamed_service_replaces_its_old_registration(api: Api, tmp_path: Path) -> None:
    async with reloading(tmp_path, api.url, service("old")) as agent:
        await eventually(lambda: names(api) == ["old"], "it is registered")
        await agent.write(service("new"))
        await eventually(lambda: names(api) == ["new"], "without a conflict over its address")
        problems = [one["problem"] for one in (await agent.get("/self")).body["services"]]
        assert problems == [""]


async def test_a_service_that_is_added_again_during_its_removal_stays(api: Api, tmp_path: Path) -> None:
    head = AGENT.replace("drain_wait = 0", "drain_wait = 0.4")
    both = service("stays") + service("goes", 7001)
    async with reloading(tmp_path, api.url, both, head=head) as agent:
        await eventually(lambda: len(names(api)) == 2, "both are registered")
        await agent.write(service("stays"), head)
        catalog = api.replica.view.catalog
        await eventually(lambda: any(i.status is Status.DRAINING for i in catalog), "it is being taken out")
        await agent.write(both, head)
        await eventually(
            lambda: [i.status for i in catalog if i.service_name == "goes"] == [Status.PASSING], "it is there again"
        )
        await asyncio.sleep(0.6)
        assert names(api) == ["goes", "stays"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[service]\n", "it is not TOML"),
        (service("geo") + 'prot = "tcp"\n', "prot: there is no such key"),
        (service("geo", weight=700), "weight"),
        ("", "it has no services any more"),
    ],
)
async def test_an_invalid_file_keeps_the_old_settings_and_is_logged_once(
    api: Api, tmp_path: Path, text: str, said: str
) -> None:
    async with reloading(tmp_path, api.url, service("geo")) as agent:
        await eventually(lambda: names(api) == ["geo"], "it is registered")
        assert "agent_config_reload_failed 0.0" in await agent.metrics()
        with capture_logs() as logs:
            await agent.write(text)
            await becomes(agent.metrics_say_failed, True)
            await agent.write(text)  # like an editor that writes in two steps
            await asyncio.sleep(0.3)
        assert [said in line["because"] for line in logs if line["event"] == "settings_kept"] == [True]
        assert said in (await agent.about())["problem"]
        assert names(api) == ["geo"]
        await agent.write(service("geo"))
        await becomes(agent.metrics_say_failed, False)
        assert (await agent.about())["problem"] == ""


async def test_a_missing_file_keeps_the_old_settings(api: Api, tmp_path: Path) -> None:
    async with reloading(tmp_path, api.url, service("geo")) as agent:
        await eventually(lambda: names(api) == ["geo"], "it is registered")
        await asyncio.to_thread(agent.file.unlink)
        await becomes(agent.metrics_say_failed, True)
        assert "cannot be read" in (await agent.about())["problem"]
        assert names(api) == ["geo"]


async def test_a_directory_swapped_by_a_symbolic_link_is_noticed(api: Api, tmp_path: Path) -> None:
    """As Kubernetes does it: the file is a link into a link, and the latter is replaced."""

    def lay(number: int, text: str) -> None:
        (tmp_path / f"v{number}").mkdir()
        (tmp_path / f"v{number}" / "agent.toml").write_text(AGENT + text)
        (tmp_path / "fresh").symlink_to(f"v{number}")
        (tmp_path / "fresh").replace(tmp_path / "data")

    await asyncio.to_thread(lay, 1, service("one"))
    await asyncio.to_thread((tmp_path / "linked").symlink_to, "data")
    settings = {"REGISTRY_URL": api.url, "AGENT_CONFIG": str(tmp_path / "linked" / "agent.toml")}
    found = await asyncio.to_thread(read_agent_settings, settings)
    sidecar = Sidecar(found, read_again=lambda: read_agent_settings(settings))
    await sidecar.start()
    try:
        await eventually(lambda: names(api) == ["one"], "it is registered")
        await asyncio.to_thread(lay, 2, service("two"))
        await eventually(lambda: names(api) == ["two"], "the other is")
    finally:
        await sidecar.close()


async def test_settings_that_need_a_restart_are_logged_and_the_rest_applies(api: Api, tmp_path: Path) -> None:
    async with reloading(tmp_path, api.url, service("geo")) as agent:
        await eventually(lambda: names(api) == ["geo"], "it is registered")
        with capture_logs() as logs:
            head = AGENT.replace("127.0.0.1:0", "127.0.0.2:0") + 'dns_zone = "other.internal"\n'
            await agent.write(service("geo", weight=7), head)
            await eventually(lambda: next(iter(api.replica.view.catalog)).weight == 7, "the rest counts")
        said = [line["settings"] for line in logs if line["event"] == "settings_need_restart"]
        assert said == [("AGENT_HTTP_LISTEN", "AGENT_DNS_LISTEN", "AGENT_DNS_ZONE")]
        assert (await agent.about())["need_restart"] == list(said[0])
        assert await agent.addresses("geo") == ["10.0.0.1"]


async def test_checks_follow_the_file(api: Api, tmp_path: Path) -> None:
    async with stand_in("127.77.0.5") as good, stand_in("127.77.0.6") as bad:
        bad.status = 500
        head = AGENT.replace('check = "none"', 'check = "http"') + "initial_wait_timeout = 0\n"

        def text(at: StandIn, path: str) -> str:
            return service("geo", at.port, host=at.host, health_endpoint=path, instance_id="one")

        async with reloading(tmp_path, api.url, text(good, "/one"), head=head) as agent:

            async def status() -> object:
                return [(i.host, i.status) for i in api.replica.view.catalog]

            await becomes(status, [(good.host, Status.PASSING)])
            await agent.write(text(good, "/two"), head)
            await eventually(lambda: good.asked[-1] == "/two", "another path is asked")
            await agent.write(text(bad, "/three"), head)
            await becomes(status, [(bad.host, Status.CRITICAL)])
            asked = len(good.asked)
            await agent.write(text(bad, "/three"), head.replace('"http"', '"none"'))
            await becomes(status, [(bad.host, Status.PASSING)])
            assert len(good.asked) == asked


async def test_the_registry_and_the_token_follow_the_file(tmp_path: Path) -> None:
    settings = ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=0.0, secrets=("s3cret",))
    async with serving() as first, serving(settings) as second:
        head = AGENT + f'registry_url = "{first.url}"\n'
        async with reloading(tmp_path, "", service("geo"), head=head) as agent:
            await eventually(lambda: names(first) == ["geo"], "it is registered at the first")
            head = AGENT + f'registry_url = "{second.url}"\nregistry_token = "s3cret"\n'
            await agent.write(service("geo"), head)
            await eventually(lambda: names(second) == ["geo"], "it is registered at the second")
            await becomes(agent.watched, second.url)


async def test_a_secret_that_is_mounted_is_followed_when_it_is_swapped(tmp_path: Path) -> None:
    """As Kubernetes does it: the file is a link through a link to a folder, and only the latter changes."""
    for version, secret in (("1", "the-old-word"), ("2", "the-new-word")):
        (tmp_path / f"v{version}").mkdir()
        (tmp_path / f"v{version}" / "secret").write_text(f"{secret}\n")
        (tmp_path / f"v{version}" / "token").write_text(f"{secret}-at-the-agent\n")
    (tmp_path / "..data").symlink_to("v1")
    for name in ("secret", "token"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    environment = {
        "REGISTRY_SECRET_FILE": str(tmp_path / "secret"),
        "AGENT_HTTP_TOKEN_FILE": str(tmp_path / "token"),
    }
    settings = ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=0.0, secrets=("the-new-word",))
    async with serving(settings) as api, reloading(tmp_path, api.url, service("geo"), environment) as agent:

        async def refused() -> object:
            return (await agent.get("/self")).body["services"][0]["refused"]

        async def drained_with(token: str) -> object:
            headers = {"Authorization": f"Bearer {token}"}
            async with agent.session.get(f"{agent.url}/drain", headers=headers) as answer:
                return answer.status

        await becomes(refused, wanted=True)
        assert await drained_with("the-old-word-at-the-agent") == 200
        (tmp_path / "..fresh").symlink_to("v2")
        (tmp_path / "..fresh").replace(tmp_path / "..data")
        await eventually(lambda: names(api) == ["geo"], "it is registered with the new secret")
        assert await drained_with("the-old-word-at-the-agent") == 401
        assert await drained_with("the-new-word-at-the-agent") == 200


async def test_the_static_file_the_zone_and_the_reports_follow_the_file(api: Api, tmp_path: Path) -> None:
    static = tmp_path / "static.toml"
    static.write_text('billing = "10.9.9.1:80"\n')
    environment = {"AGENT_STATIC_FILE": str(static)}
    nobody = "http://127.0.0.1:1"
    async with reloading(tmp_path, nobody, "", environment) as agent:
        assert await agent.addresses("billing") == ["10.9.9.1"]
        await asyncio.to_thread(_write, static, 'billing = "10.9.9.2:80"\n')

        async def found() -> object:
            return await agent.addresses("billing")

        await becomes(found, ["10.9.9.2"])
        await asyncio.to_thread(_write, static, "billing = 7\n")
        await becomes(agent.metrics_say_failed, True)
        assert await agent.addresses("billing") == ["10.9.9.2"]
        await agent.write('zone = "eu-1a"\nwhen_none_pass = "none"\nlog_level = "info"\n')
        await asyncio.to_thread(_write, static, 'billing = "10.9.9.3:80"\n')
        await becomes(found, ["10.9.9.3"])
        assert agent.sidecar.upstreams.zone == "eu-1a"


async def test_a_reload_that_changes_nothing_does_nothing(api: Api, tmp_path: Path) -> None:
    async with reloading(tmp_path, api.url, service("geo")) as agent:
        await eventually(lambda: names(api) == ["geo"], "it is registered")
        await asyncio.to_thread(agent.file.touch)
        await asyncio.sleep(0.3)
        assert (await agent.about())["taken"] == 0
        agent.sidecar.reload()
        await becomes(agent.taken, 1)


async def test_a_half_written_file_is_not_applied(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.settings.reload.POLL_S", 0.3)
    async with reloading(tmp_path, api.url, service("one") + service("two", 7001)) as agent:
        await eventually(lambda: len(names(api)) == 2, "both are registered")
        text = AGENT + service("one")
        for more in ("", "#", "##", "###", "####", "#####"):
            await asyncio.to_thread(agent.file.write_text, text + more)
            await asyncio.sleep(0.15)
        await asyncio.to_thread(agent.file.write_text, text + service("two", 7001) + service("three", 7002))
        await eventually(lambda: len(names(api)) == 3, "the whole of it counts")
        assert (await agent.about())["taken"] == 1


def test_every_setting_is_either_live_or_needs_a_restart() -> None:
    fields = set(AgentSettings.__struct_fields__)
    assert fields == {*LIVE, *NEED_RESTART, "services", "files", "ignored", "unknown"}
    assert not set(LIVE) & set(NEED_RESTART)


def test_a_plan_keeps_fixed_settings_and_takes_the_rest() -> None:
    old = AgentSettings()
    new = msgspec.structs.replace(old, dns_zone="other", keys=SenderKeys(shared_key("t")), zone="z")
    plan = planned(old, new)
    assert plan.settings == msgspec.structs.replace(new, dns_zone=old.dns_zone)
    assert (plan.changed, plan.need_restart) == (
        ("REGISTRY_SECRET, REGISTRY_KEY, REGISTRY_SEND", "AGENT_ZONE"),
        ("AGENT_DNS_ZONE",),
    )
    assert planned(old, old).is_empty
