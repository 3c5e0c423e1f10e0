"""Reads the query of a URL, for registry and agent alike: a wrong one is refused, never guessed at.

It reads the one numeric request header the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from aiohttp import web

from registry_core.api.schemas import SEQUENCE_HEADER
from registry_core.domain.names import check_tag
from registry_core.domain.order import MAX_SEQUENCE
from registry_core.domain.records import Status
from registry_core.domain.selection import Filter
from registry_core.errors import ValidationError

QueryParameters: TypeAlias = Mapping[str, str]

# The parameters that `filter_of` reads.
FILTERS: Final = ("tag", "version", "zone", "status")
_NO_QUERY: Final[QueryParameters] = {}
_BOOLEANS: Final = {"": False, "0": False, "false": False, "1": True, "true": True}


def read_query(request: web.BaseRequest, known: Collection[str]) -> QueryParameters:
    """Return the query's parameters. Raises ValidationError for an unknown or repeated one."""
    if "?" not in request.raw_path:  # the exact value needs no parsing
        return _NO_QUERY
    for name in request.query:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            raise ValidationError(
                f"there is no such query parameter; {request.path[:100]} {takes}",
                field=name[:100],
                provided=request.query[name],
                example=next(iter(known), None),
            )
        if len(request.query.getall(name)) > 1:
            raise ValidationError(
                "a query parameter may be given only once", field=name, provided=request.query.getall(name)
            )
    return request.query


def filter_of(query: QueryParameters) -> Filter:
    """Return which instances a query asks for. Raises ValidationError for an invalid status or tag."""
    status, tag = query.get("status"), query.get("tag")
    try:
        wanted = Status(status) if status else None
    except ValueError:
        raise ValidationError(
            f"a status is one of {', '.join(Status)}", field="status", provided=status, example=Status.PASSING.value
        ) from None
    return Filter(
        tag=check_tag(tag, field="tag") if tag else "",
        version=query.get("version", ""),
        zone=query.get("zone", ""),
        status=wanted,
    )


def boolean(query: QueryParameters, name: str) -> bool:
    """Return a boolean parameter, or False when it is missing. Raises ValidationError."""
    given = query.get(name, "")
    if given.lower() not in _BOOLEANS:
        raise ValidationError("it is true or false", field=name, provided=given, example="true")
    return _BOOLEANS[given.lower()]


def integer(query: QueryParameters, name: str) -> int | None:
    """Return an integer parameter, or None when it is missing. Raises ValidationError."""
    given = query.get(name, "")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 16):
        raise ValidationError("it is a whole number", field=name, provided=given, example=1764000000000)
    return int(given)


def sequence_of(request: web.BaseRequest) -> int | None:
    """Return the sequence of a write, or None when it has none.

    Raises ValidationError for an invalid sequence, and for more than one.
    """
    given = request.headers.getall(SEQUENCE_HEADER, [])
    if not given:
        return None
    number = int(given[0]) if given[0].isascii() and given[0].isdigit() and len(given[0]) <= 16 else -1
    if len(given) > 1 or not 0 <= number <= MAX_SEQUENCE:
        raise ValidationError(
            f"a sequence is one whole number from 0 to {MAX_SEQUENCE}: a counter, higher with each request of an owner",
            field=SEQUENCE_HEADER,
            provided=", ".join(given),
            example=42,
        )
    return number
