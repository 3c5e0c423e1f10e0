"""Reads a container's health check: which URL or port it asks, and whether it asks the container itself.

Pure. A check of something else (`nc -z database 5432`) shows that the other works: its port and path are not the
container's own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingType
from typing import Final
from urllib.parse import urlsplit

from cli.compose.interpolation import BadVariable, fill, parts
from cli.compose.model import Healthcheck
from cli.compose.tree import Mapping, Node, Scalar, Sequence

# `${NAME:-default}` is one piece of a URL, whatever is in it.
_URL: Final = re.compile(r"https?://(?:\$\{[^{}]{0,200}\}|[^\s\"'|;)&])+")
_SELF: Final = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]", "::1", "ip6-localhost")  # noqa: S104 - it is read, not bound
# Longer ones are no checks, and the patterns take quadratic time.
_MAX_TEXT: Final = 4096
# Frameworks serve these on a port of their own if so configured, beside that of the program.
_MANAGEMENT: Final = re.compile(r"/(?:actuator|q|management|manage|admin|metrics|-)(?:[/?]|$)", re.IGNORECASE)
# What a shell in the container replaces by the container's own name: `$HOSTNAME`, `$(hostname -i)`.
_OWN_NAME: Final = re.compile(r"\$[({]?hostname", re.IGNORECASE)
_HOST: Final = r"(?P<host>\[[0-9A-Fa-f:]+\]|::1|[A-Za-z0-9$][\w.$({-]*)"
_CONNECTS: Final = r"(?:^|[\s/;&|(])(?:nc|ncat|netcat|telnet)\s+(?:-\S+\s+(?:\d+\s+)?)*"
# How the programs that use no URL name their host: `pg_isready -h db`, `nc -z db 5432`, `/dev/tcp/db/5432`.
_TARGETS: Final = (
    re.compile(r"(?:^|\s)(?:-h|--host(?:name)?|--?addr(?:ess)?)(?:[= ]\s*|(?<=-h))[\"']?" + _HOST),
    re.compile(r"(?:^|\s)(?:--bootstrap-servers?|--endpoints?|--broker-list)[= ]\s*[\"']?(?:\w+://)?" + _HOST),
    re.compile(_CONNECTS + _HOST),
    re.compile(r"/dev/tcp/" + _HOST),
    re.compile(r"\b(?!https?:)[a-z][a-z0-9+]*://(?:[^@\s/]*@)?" + _HOST),
)


def healthcheck_of(body: Mapping, names: Collection[str], variables: MappingType[str, str]) -> Healthcheck | None:
    """Return the health check of a canonical description; `names` are the container's own, in lower case."""
    check = body.get("healthcheck")
    if not isinstance(check, Mapping):
        return None
    place = body.place_of("healthcheck")
    test = check.get("test")
    given = _scalars(test)
    words = tuple(word.text for word in given)
    disable = check.get("disable")
    disabled = isinstance(disable, Scalar) and disable.text.lower() in ("true", "yes", "on")
    disabled = disabled or words[:1] == ("NONE",)
    if test is None and not disabled:
        return None
    shell = isinstance(test, Scalar) or words[:1] == ("CMD-SHELL",)
    if isinstance(test, Sequence) and words[:1] in (("CMD",), ("CMD-SHELL",)):
        given, words = given[1:], words[1:]
    written = " ".join(word.raw for word in given)
    found = Healthcheck(words, shell, disabled, place)
    return _asked(found, written, {*_SELF, *names}, variables)


def is_management(path: str) -> bool:
    """Return whether a path may be that of a management interface, which can have a port of its own."""
    return _MANAGEMENT.match(path) is not None


def _scalars(node: Node | None) -> list[Scalar]:
    if isinstance(node, Scalar):
        return [node]
    items = node.items if isinstance(node, Sequence) else ()
    return [item for item in items if isinstance(item, Scalar) and not item.null]


def _asked(check: Healthcheck, written: str, own: Collection[str], variables: MappingType[str, str]) -> Healthcheck:
    """Return the check with what it asks of the container itself, or with the other host that it asks."""
    text = check.text[:_MAX_TEXT]
    hosts: list[str] = []
    for match in _URL.finditer(text):
        try:
            url = urlsplit(match[0])
            host, port = url.hostname or "", url.port
        except ValueError:
            reason = "its health check uses an address that is not a URL"
            return Healthcheck(check.words, check.shell, check.disabled, check.place, problem=reason)
        if not _is_own(host, own):
            hosts.append(host)
            continue
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        raw_port, raw_path = _as_written(match[0], written, variables)
        return Healthcheck(
            *(check.words, check.shell, check.disabled, check.place, match[0], path, port),
            written_path=raw_path,
            written_port=raw_port,
        )
    port = _own_port(text, own)
    hosts += _hosts(text)
    other = next((host for host in hosts if not _is_own(host, own)), None)
    if port is not None or any(_is_own(host, own) for host in hosts):
        other = None
    shown = "" if port is None or not re.search(rf"(?<!\d){port}(?!\d)", written) else str(port)
    return Healthcheck(
        check.words, check.shell, check.disabled, check.place, port=port, written_port=shown, other=other
    )


def _hosts(text: str) -> Iterator[str]:
    for pattern in _TARGETS:
        yield from (match["host"] for match in pattern.finditer(text))


def _is_own(host: str, own: Collection[str]) -> bool:
    name = host.lower()
    return name in own or name.startswith("127.") or _OWN_NAME.match(name) is not None


def _own_port(text: str, own: Collection[str]) -> int | None:
    """Return the port after one of the container's own names: `localhost:9092`, `nc -z localhost 2181`."""
    names = "|".join(re.escape(name) for name in sorted(own, reverse=True))
    selves = "|".join(re.escape(name) for name in sorted(_SELF, reverse=True))
    ways = (
        rf"(?<![\w.-])(?:{names}):",
        rf"(?<![\w.-])(?:{selves}) +",
        rf"{_CONNECTS}(?:{names}) +",
        rf"/dev/tcp/(?:{names})/",
    )
    found = (re.search(rf"{way}(\d{{1,5}})(?![\w.])", text, re.IGNORECASE) for way in ways)
    return next((int(match[1]) for match in found if match is not None), None)


def _as_written(url: str, written: str, variables: MappingType[str, str]) -> tuple[str, str]:
    """Return port and path of a URL as they stand in the file, each empty when it cannot be told."""
    for match in _URL.finditer(written):
        if _filled(match[0], variables) != url:
            continue
        authority, slash, path = match[0].partition("://")[2], "", ""
        pieces = parts(authority, "/")
        if len(pieces) > 1:
            authority, slash, path = pieces[0], "/", authority[len(pieces[0]) + 1 :]
        elif "?" in authority:
            return "", ""
        port = parts(authority, ":")[-1] if len(parts(authority, ":")) > 1 else ""
        return port, f"{slash}{path}" if _filled(slash + path, variables).startswith("/") else "/"
    return "", ""


def _filled(text: str, variables: MappingType[str, str]) -> str:
    try:
        return fill(text, variables).text
    except BadVariable:
        return text
