"""Sends an answer from the address that was asked, on a socket that listens on all of them (ip(7), RFC 3542).

The system would choose the source by its routes, and a client drops an answer from an address that it did not ask
(RFC 2181 section 4.1). So the kernel says with each query where it arrived, and is told with each answer where to
send from. A socket that is bound to one address needs none of this.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

# Python has no name for it before 3.14.
_IP_PKTINFO: Final = 8

Ancillary: TypeAlias = tuple[tuple[int, int, bytes], ...]
"""Control messages, as `socket.sendmsg` takes them."""

NO_SOURCE: Final[Ancillary] = ()


class ReplySource(msgspec.Struct, frozen=True):
    """How one family's sockets tell where a query arrived, and are told where its answer is to leave from."""

    level: int
    option: int  # has the kernel add the control message to each query
    kind: int  # of the control message
    size: int  # octets of struct in_pktinfo or in6_pktinfo
    interface: int  # where in it the 32-bit index of the interface lies

    def enable(self, listening: socket.socket) -> None:
        """Have the kernel say where each datagram arrived. Call it before `bind`: earlier datagrams would lack it."""
        listening.setsockopt(self.level, self.option, 1)

    def of(self, control: Iterable[tuple[int, int, bytes]]) -> Ancillary:
        """Return what to send with the answer to a query that came with `control`.

        Without the interface: the answer takes the route to its client, which may be another one.
        """
        for level, kind, data in control:
            if (level, kind, len(data)) == (self.level, self.kind, self.size):
                return ((level, kind, data[: self.interface] + bytes(4) + data[self.interface + 4 :]),)
        return NO_SOURCE


_OF_FAMILY: Final = {
    socket.AF_INET: ReplySource(socket.IPPROTO_IP, _IP_PKTINFO, _IP_PKTINFO, size=12, interface=0),
}
if sys.platform == "linux":
    _OF_FAMILY[socket.AF_INET6] = ReplySource(
        socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, socket.IPV6_PKTINFO, size=20, interface=16
    )


def reply_source(family: int, host: str) -> ReplySource | None:
    """Return what a socket of `family` bound to the address `host` needs; None for one address, or another system."""
    if sys.platform != "linux" or not ipaddress.ip_address(host).is_unspecified:
        return None
    return _OF_FAMILY.get(socket.AddressFamily(family))
