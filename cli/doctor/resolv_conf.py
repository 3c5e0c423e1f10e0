"""Parses /etc/resolv.conf as the stub resolvers of libc do. Pure: text in, structure out; it judges nothing."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import msgspec

from dns.resolv_conf import MAX_CHARACTERS, nameservers

# resolv.conf(5): MAXNS and the defaults of the options; musl uses the same.
MAX_USED: Final = 3
TIMEOUT_S: Final = 5
ATTEMPTS: Final = 2
_MAX_NDOTS: Final = 15
_EXTERNAL: Final = re.compile(r"^#\s*ExtServers:\s*\[(.*)\]", re.MULTILINE)


class ResolvConf(msgspec.Struct, frozen=True, kw_only=True):
    """The file as glibc reads it."""

    servers: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()  # values of `nameserver` that are not addresses
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout_s: int = TIMEOUT_S
    attempts: int = ATTEMPTS
    rotates: bool = False
    docker_asks: str = ""  # the servers of Docker's resolver, from the engine's comment

    @property
    def used(self) -> tuple[str, ...]:
        """The servers that libc actually asks; without any in the file, the one on this machine."""
        return self.servers[:MAX_USED] or ("127.0.0.1",)


def read_resolv_conf(text: str) -> ResolvConf:
    """Return the parsed file. The last `search` or `domain` wins, and options accumulate (resolv.conf(5))."""
    text = text[:MAX_CHARACTERS]
    wrong: list[str] = []
    search: tuple[str, ...] = ()
    options: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or line[0].isspace():
            continue
        match words[0]:
            case "nameserver" if not _is_address(words[1]):
                wrong.append(words[1])
            case "search":
                search = tuple(suffix.strip(".").lower() for suffix in words[1:] if suffix.strip("."))
            case "domain":
                search = (words[1].strip(".").lower(),)
            case "options":
                options |= {name: value for name, _, value in (word.partition(":") for word in words[1:])}
    external = _EXTERNAL.search(text)
    return ResolvConf(
        servers=nameservers(text),
        wrong=tuple(wrong),
        search=search,
        ndots=min(_number(options.get("ndots", ""), 1), _MAX_NDOTS),
        timeout_s=_number(options.get("timeout", ""), TIMEOUT_S),
        attempts=_number(options.get("attempts", ""), ATTEMPTS),
        rotates="rotate" in options,
        docker_asks=external[1].strip() if external is not None else "",
    )


def _number(text: str, default: int) -> int:
    return int(text) if re.fullmatch(r"\d{1,6}", text, re.ASCII) else default


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
