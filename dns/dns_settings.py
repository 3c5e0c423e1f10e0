"""The settings of the DNS server, as its composition root passes them in."""

from __future__ import annotations

import msgspec

from dns.access import LOOPBACK
from dns.answer_cache import CacheLimits
from dns.answers import ZoneSettings
from dns.reverse import ReverseNames
from registry_core.domain.selection import WhenNonePass


class DnsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the DNS server. `_s` means seconds; `udp_payload` is in octets."""

    zone: str = "vertice.internal"
    ttl_s: int = 5
    negative_ttl_s: int = 5
    local_zone: str = ""
    when_none_pass: WhenNonePass = WhenNonePass.ALL
    # Fits every path without fragmentation (DNS flag day 2020).
    udp_payload: int = 1232
    # Networks that may query, such as 10.0.0.0/8.
    allow_networks: tuple[str, ...] = LOOPBACK
    # Answers of one kind per second to one network beyond loopback; 0 means no limit.
    rate_limit: int = 1000
    reverse: ReverseNames = ReverseNames()
    cache: CacheLimits = CacheLimits()
    # Of answers over TCP, which may be 64 KiB each.
    tcp_cache: CacheLimits = CacheLimits(entries=2000, bytes=2 * 1024 * 1024)

    def of_zone(self, *, asks_resolvers: bool) -> ZoneSettings:
        """Return the settings of the zone; `asks_resolvers` is whether foreign names are looked up."""
        return ZoneSettings(
            zone=self.zone,
            ttl_s=self.ttl_s,
            negative_ttl_s=self.negative_ttl_s,
            local_zone=self.local_zone,
            when_none_pass=self.when_none_pass,
            reverse_networks=self.reverse.at_once(asks_resolvers=asks_resolvers),
        )
