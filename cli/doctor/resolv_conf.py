"""What /etc/resolv.conf says to the stub resolvers of libc. Pure: text in, structure out; it judges nothing."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import msgspec

from dns.resolv_conf import MAX_CHARACTERS, nameservers

# resolv.conf(5): MAXNS, and the defaults of the options. musl has the same.
MAX_USED: Final = 3
TIMEOUT_S: Final = 5
ATTEMPTS: Final = 2
_MAX_NDOTS: Final = 15
_EXTERNAL: Final = re.compile(r"^#\s*ExtServers:\s*\[(.*)\]", re.MULTILINE)


class ResolvConf(msgspec.Struct, frozen=True, kw_only=True):
    """The file, read as glibc does."""

    servers: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()  # what stands after `nameserver` and is no address
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout_s: int = TIMEOUT_S
    attempts: int = ATTEMPTS
    rotates: bool = False
    docker_asks: str = ""  # whom Docker's resolver asks, by the comment that the engine leaves

    @property
    def used(self) -> tuple[str, ...]:
        """The servers that are ever asked. Where the file names none, it is the one on this machine."""
        return self.servers[:MAX_USED] or ("127.0.0.1",)


def read_resolv_conf(text: str) -> ResolvConf:
    """Return what the file says. The last of `search` and `domain` holds, and options add up (resolv.conf(5))."""
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
