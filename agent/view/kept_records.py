"""Checks the records of a kept snapshot: those that no registry can have sent are left out. Pure.

The rules are those of a registration, as far as names, addresses and numbers go; texts are only shown. A snapshot of
10,000 records is read before the first answer, so the checks are cheap, and what repeats is checked once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from registry_core.domain import names
from registry_core.domain.catalog import Lived
from registry_core.domain.registration import MAX_EPOCH, MAX_PORT, MAX_WEIGHT
from registry_core.domain.restoration import MAX_REGISTERED_AT
from registry_core.errors import ValidationError


def checked_records(records: Iterable[Lived]) -> tuple[tuple[Lived, ...], int, str]:
    """Return the sound ones of `records`, the number of the others, and what is wrong with the first of these."""
    sound: list[Lived] = []
    count, first = 0, ""
    for record in records:
        problem = _problem_of(record)
        if problem:
            count += 1
            first = first or f"{problem} of {record.instance.service_name[:80]!r}"
        else:
            sound.append(record)
    return tuple(sound), count, first


def _problem_of(lived: Lived) -> str:
    """Return which field is wrong; empty if none is."""
    one = lived.instance
    if not _is_name(one.service_name):
        return "the name"
    if not _is_id(one.instance_id):
        return "the id"
    if not (_is_host(one.host) and all(address == one.host or _is_address(address) for address in one.addresses)):
        return "an address"
    if not all(map(_is_tag, one.tags)):
        return "a tag"
    if not (1 <= one.port <= MAX_PORT and 1 <= one.weight <= MAX_WEIGHT and 0 <= one.epoch <= MAX_EPOCH):
        return "a number"
    # NaN compares as false, too.
    if not (0.0 <= one.registered_at <= MAX_REGISTERED_AT and 0.0 <= lived.heartbeat_at <= MAX_REGISTERED_AT):
        return "a time"
    return ""


_CACHED: Final = 4096


_is_tag: Final = lru_cache(_CACHED)(names.is_tag)


@lru_cache(_CACHED)
def _is_name(name: str) -> bool:
    try:
        return bool(names.check_known_name(name))
    except ValidationError:
        return False


def _is_id(instance_id: str) -> bool:
    try:
        return bool(names.check_instance_id(instance_id))
    except ValidationError:
        return False


def _is_host(host: str) -> bool:
    try:
        return _is_address(host) or names.check_host(host) == host
    except ValidationError:
        return False


def _is_address(address: str) -> bool:
    return names.canonical_ip(address) == address
