"""Completes names as the stub resolvers of libc do: `search`, `domain` and `ndots` of resolv.conf(5). Pure.

A forwarder has no use for it, since clients send complete names. A program that reads a name in its settings has: in
a container, `orders` or `orders.shop` may be short for a name that only the search list completes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dns.name_limits import MAX_NAME
from dns.resolv_conf import MAX_CHARACTERS

# glibc since 2.26 and Kubernetes allow more than the six domains of older stubs.
MAX_DOMAINS: Final = 16
# resolv.conf(5): larger values count as this.
MAX_DOTS: Final = 15


class SearchList(msgspec.Struct, frozen=True):
    """The domains that complete a name, and how many dots make a name likely to be complete."""

    domains: tuple[str, ...] = ()
    dots: int = 1

    def completions(self, host: str) -> tuple[str, ...]:
        """Return the complete names to ask for, in order, without the dot at the end.

        A name with a dot at its end is complete. One with fewer dots than `dots` is tried with the domains first.
        """
        if host.endswith("."):
            return (host.rstrip("."),)
        completed = [f"{host}.{domain}" for domain in self.domains]
        tried = [*completed, host] if host.count(".") < self.dots else [host, *completed]
        return tuple(name for name in dict.fromkeys(tried) if len(name) < MAX_NAME - 1)


def search_list(text: str, own_domain: str = "") -> SearchList:
    """Return the search list of a resolv.conf; `own_domain`, this machine's, stands in when it names none.

    The last line of `search` or `domain` counts, and so does the last `ndots`.
    """
    domains: tuple[str, ...] | None = None
    dots = 1
    for line in text[:MAX_CHARACTERS].splitlines():
        words = line.split()
        if len(words) < 2 or line[0].isspace():
            continue
        match words[0]:
            case "search":
                domains = tuple(words[1:])
            case "domain":
                domains = tuple(words[1:2])
            case "options":
                for option in words[1:]:
                    name, _, value = option.partition(":")
                    if name == "ndots" and value.isdecimal() and value.isascii():
                        dots = min(int(value), MAX_DOTS)
            case _:
                pass
    chosen = domains if domains is not None else (own_domain,)
    bare = (domain.strip(".").lower() for domain in chosen)
    return SearchList(tuple(dict.fromkeys(domain for domain in bare if domain))[:MAX_DOMAINS], dots)
