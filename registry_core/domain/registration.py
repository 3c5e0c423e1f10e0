"""What may be registered: the rules for each field of a claim.

`admission.py` compares a claim with the existing registrations.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from registry_core.domain import names
from registry_core.domain.records import Registration
from registry_core.errors import ValidationError

MAX_PORT: Final = 65535
MAX_HEALTH_ENDPOINT_LENGTH: Final = 512
_TOO_LONG: Final = f"a health endpoint has at most {MAX_HEALTH_ENDPOINT_LENGTH} characters"
MAX_TAGS: Final = 32
MAX_ADDRESSES: Final = 16
MAX_ZONE_LENGTH: Final = 63
MAX_VERSION_LENGTH: Final = 128
MAX_WEIGHT: Final = 100
# Above every epoch taken from a clock in milliseconds, and exact in every JSON reader.
MAX_EPOCH: Final = 2**53 - 1

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ZONE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
# https://semver.org, the pattern that the specification itself suggests.
_SEMVER: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)


class Rules(msgspec.Struct, frozen=True):
    """The limits that an operator may change."""

    min_port: int = 1024
    max_metadata_bytes: int = 8192
    max_metadata_depth: int = 5
    max_metadata_keys: int = 256


DEFAULT_RULES: Final = Rules()


def checked(claim: Registration, rules: Rules = DEFAULT_RULES) -> Registration:
    """Return `claim` with host, addresses and tags in canonical form.

    Raises ValidationError for the first field that breaks a rule.
    """
    names.check_service_name(claim.service_name)
    check_port(claim.port, rules)
    check_health_endpoint(claim.health_endpoint)
    _check_range("weight", claim.weight, 1, MAX_WEIGHT, example=10)
    check_version(claim.version)
    if claim.zone and (len(claim.zone) > MAX_ZONE_LENGTH or not _ZONE.fullmatch(claim.zone)):
        raise ValidationError(
            f"a zone has at most {MAX_ZONE_LENGTH} of letters, digits and . _ -",
            field="zone",
            provided=claim.zone,
            example="eu-west-1a",
        )
    if claim.epoch is not None:
        _check_range("epoch", claim.epoch, 0, MAX_EPOCH, example=1764000000000)
    check_metadata(claim.metadata, rules)
    names.check_instance_id(claim.instance_id)
    host = names.check_host(claim.host)
    addresses, tags = _checked_addresses(claim.addresses), _checked_tags(claim.tags)
    if (host, addresses, tags) == (claim.host, claim.addresses, claim.tags):
        return claim
    return msgspec.structs.replace(claim, host=host, addresses=addresses, tags=tags)


def check_port(port: int, rules: Rules = DEFAULT_RULES, *, field: str = "port") -> int:
    """Return `port` unchanged. Raises ValidationError when it is not a port, or below the lower limit."""
    if port < 1 or port > MAX_PORT:
        raise ValidationError(f"a port is a number from 1 to {MAX_PORT}", field=field, provided=port, example=8034)
    if port < rules.min_port:
        raise ValidationError(
            f"ports below {rules.min_port} are not accepted here; REGISTRY_MIN_PORT at the registry sets the limit",
            field=field,
            provided=port,
            example=8034,
        )
    return port


def check_version(version: str) -> str:
    """Return `version` unchanged; it may be empty. Raises ValidationError when it is too long, or not SemVer 2."""
    problem = None
    if len(version) > MAX_VERSION_LENGTH:
        problem = f"a version has at most {MAX_VERSION_LENGTH} characters"
    elif version and not _is_semver(version):
        problem = "a version follows SemVer 2"
    if problem is not None:
        raise ValidationError(problem, field="version", provided=version[:200], example="1.4.2")
    return version


@lru_cache(maxsize=1024)  # a fleet has a few
def _is_semver(version: str) -> bool:
    return _SEMVER.fullmatch(version) is not None


def check_health_endpoint(path: str, *, field: str = "health_endpoint") -> str:
    """Return `path` unchanged. Raises ValidationError when it could lead a checker to another host or path."""
    problem = _health_endpoint_problem(path) if len(path) <= MAX_HEALTH_ENDPOINT_LENGTH else _TOO_LONG
    if problem is not None:
        raise ValidationError(problem, field=field, provided=path[:200], example="/health")
    return path


@lru_cache(maxsize=1024)  # a fleet has a few
def _health_endpoint_problem(path: str) -> str | None:
    if not path.startswith("/"):
        return "a health endpoint is a path that starts with '/'"
    if path.startswith("//"):
        return "a health endpoint that starts with '//' would name another host"
    if _CONTROL.search(path) or any(c.isspace() for c in path) or not path.isascii():
        return "a health endpoint holds visible ASCII characters only"
    if "#" in path or "\\" in path:
        return "a health endpoint holds neither '#' nor '\\'"
    if ".." in unquote(path.partition("?")[0]).split("/"):
        return "a health endpoint must not contain '..'"
    return None


def check_metadata(metadata: dict[str, Any], rules: Rules = DEFAULT_RULES) -> None:
    """Raises ValidationError when `metadata` is too large, too deep, or holds control characters."""
    try:
        encoded = msgspec.json.encode(metadata)
    except RecursionError:  # far too deep
        encoded = b""
    is_small = 0 < len(encoded) <= rules.max_metadata_bytes and len(metadata) <= rules.max_metadata_keys
    if not (is_small and rules.max_metadata_depth and _is_plain(encoded)):
        _check_metadata(metadata, rules, size=len(encoded))


def _is_plain(encoded: bytes) -> bool:
    """Return whether encoded metadata is one object of ASCII texts and numbers, in which JSON escapes nothing.

    Nearly all of it is. It has no control characters then, and a tenth of the time shows that.
    """
    return (
        encoded.isascii()
        and b"\\" not in encoded
        and b"\x7f" not in encoded
        and b"[" not in encoded
        and encoded.rfind(b"{") == 0
    )


def _check_metadata(metadata: dict[str, Any], rules: Rules, *, size: int) -> None:
    """Raises ValidationError for metadata of `size` octets, as above."""
    example = {"team": "osint", "release": "2026-11"}
    keys = 0
    # An explicit stack, so that hostile nesting hits our limit and not Python's.
    pending: list[tuple[object, int, str]] = [(metadata, 1, "metadata")]
    while pending:
        value, depth, path = pending.pop()
        if isinstance(value, str):
            if _CONTROL.search(value):
                raise ValidationError(
                    "metadata holds no control characters", field=path, provided=value[:100], example=example
                )
            continue
        if not isinstance(value, dict | list):
            continue
        if depth > rules.max_metadata_depth:
            raise ValidationError(
                f"metadata is nested at most {rules.max_metadata_depth} deep", field=path, example=example
            )
        keys += len(value)
        if keys > rules.max_metadata_keys:
            raise ValidationError(
                f"metadata has at most {rules.max_metadata_keys} entries in all",
                field="metadata",
                provided=f"{keys} entries",
                example=example,
            )
        if isinstance(value, dict):
            for key, inner in value.items():
                if _CONTROL.search(key):
                    raise ValidationError(
                        "metadata holds no control characters", field="metadata", provided=key[:100], example=example
                    )
                if isinstance(inner, str | dict | list):
                    pending.append((inner, depth + 1, f"{path}.{key[:200]}"[:200]))
        else:
            pending.extend((inner, depth + 1, path) for inner in value)
    if size > rules.max_metadata_bytes:
        raise ValidationError(
            f"metadata has at most {rules.max_metadata_bytes} bytes as JSON",
            field="metadata",
            provided=f"{size} bytes",
            example=example,
        )


def _check_range(field: str, value: int, low: int, high: int, *, example: int) -> None:
    if not low <= value <= high:
        raise ValidationError(f"{field} is a number from {low} to {high}", field=field, provided=value, example=example)


def _checked_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if len(addresses) == 1 and names.is_plain_ipv4(addresses[0]):  # as nearly always
        return addresses
    if len(addresses) > MAX_ADDRESSES:
        raise ValidationError(
            f"an instance has at most {MAX_ADDRESSES} addresses",
            field="addresses",
            provided=f"{len(addresses)} addresses",
            example=["10.0.0.7"],
        )
    for address in addresses:
        if names.canonical_ip(address.partition("%")[0]) is None:
            raise ValidationError(
                "addresses are IPv4 or IPv6 addresses; a name belongs in host",
                field="addresses",
                provided=address[:100],
                example=["10.0.0.7"],
            )
    # A name may also have link-local addresses, and agents of earlier releases send them. Others can use the rest.
    reachable = [a for a in addresses if not names.is_link_local(a)] or addresses
    return tuple(dict.fromkeys(names.check_host(a, field="addresses") for a in reachable))


def _checked_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    if not tags:
        return tags
    if len(tags) > MAX_TAGS:
        raise ValidationError(
            f"an instance has at most {MAX_TAGS} tags",
            field="tags",
            provided=f"{len(tags)} tags",
            example=["canary"],
        )
    return tuple(sorted({names.check_tag(tag) for tag in tags}))
