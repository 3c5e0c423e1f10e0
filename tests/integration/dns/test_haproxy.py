"""HAProxy and a service too large for a datagram: it learns every server over TCP, as docs/reference/dns.md says."""

from __future__ import annotations

import asyncio
from pathlib import Path

from registry_core.domain.records import Status
from tests.integration.dns_servers import Running, both
from tests.programs import find
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import responder

COUNT = 100
CONFIG = """
global
    stats socket {socket}
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
resolvers vertice
    nameserver agent tcp@127.0.0.1:{port}
    accepted_payload_size 65535
    timeout resolve 200ms
backend trackers
    server-template srv {count} _ip-intel._tcp.vertice.internal resolvers vertice init-addr none
"""


async def servers_of(socket: Path) -> set[tuple[str, str, str]]:
    """Return (address, port, weight) of every server that HAProxy has found."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"show servers state trackers\n")
    rows = [line.split() for line in (await reader.read()).decode().splitlines() if line[:1].isdigit()]
    writer.close()
    await writer.wait_closed()
    return {(row[4], row[18], row[7]) for row in rows if len(row) > 18 and row[4] != "-"}


async def test_haproxy_finds_every_server_of_a_large_service_over_tcp_with_its_weight_and_spares_who_leaves(
    tmp_path: Path,
) -> None:
    leaves = instance(host="10.1.1.1", status=Status.DRAINING)
    stays = [instance(host=f"10.1.0.{n}", weight=n + 1) for n in range(COUNT - 1)]
    view = StandingView([leaves, *stays])
    server = responder(view)
    udp, tcp = await both(server)
    running = Running(view, server, udp, tcp)
    socket, config = tmp_path / "haproxy.sock", tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(socket=socket, port=running.port, count=COUNT))
    haproxy = await asyncio.create_subprocess_exec(
        find("haproxy"), "-f", str(config), "-db", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    # A weight of 0 is how HAProxy lets a server finish and sends it nobody new.
    expected = {(i.host, "8034", str(i.weight)) for i in stays}
    first = expected | {(leaves.host, "8034", "0")}

    async def finds(expected: set[tuple[str, str, str]]) -> None:
        found: set[tuple[str, str, str]] = set()
        async with asyncio.timeout(20):
            while found != expected:
                await asyncio.sleep(0.05)
                if socket.exists():
                    found = await servers_of(socket)

    try:
        await finds(first)
        view.leave(leaves)
        await finds(expected)
    finally:
        haproxy.terminate()
        await haproxy.wait()
        await udp.close()
        await tcp.close()
