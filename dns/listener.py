"""Serves DNS over UDP and TCP on the same port."""

from __future__ import annotations

from typing import Final

from dns.responder import Responder
from dns.tcp import TcpLimits, TcpServer, serve_tcp
from dns.udp import UdpServer, serve_udp
from registry_core.listener import cannot_listen
from registry_core.settings import Listen

# With port 0 the system picks a free UDP port of the first address. It may be in use over TCP, or on another
# address: then another is tried.
TRIES: Final = 20


async def serve_dns(
    responder: Responder, where: Listen, limits: TcpLimits | None = None, *, setting: str
) -> tuple[UdpServer, TcpServer]:
    """Answer on `where`, over UDP and TCP. Raises CannotListen, which names the `setting` of the address."""
    for left in reversed(range(TRIES if where.port == 0 else 1)):
        udp: UdpServer | None = None
        try:
            udp = await serve_udp(responder, where.host, where.port)
            return udp, await serve_tcp(responder, where.host, udp.port, limits)
        except OSError as error:
            if udp is not None:
                await udp.close()
            if not left:
                what, kind = ("DNS", "udp") if udp is None else ("DNS over TCP", "tcp")
                raise await cannot_listen(where, error, what, setting=setting, kind=kind) from error
    raise AssertionError("the last try returns or raises")
