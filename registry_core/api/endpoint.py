"""What a row of the table of endpoints consists of. It contains no code."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from registry_core.security.rights import Right

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"


class Parameter(msgspec.Struct, frozen=True):
    """A query parameter, or a header."""

    name: str
    kind: Any
    meaning: str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. `name` is the handler's name and the operation's id; `right` what a caller needs."""

    method: str
    path: str
    name: str
    right: Right
    summary: str
    answers: dict[int, Any]
    errors: tuple[int, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: Any = None
    media_type: str = JSON
    writes: bool = False
    from_store: bool = False  # needs the store's first delivery
    is_list: bool = False  # of everything that the store has
    from_living: bool = False  # only the owner of a living instance sends it

    @property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{(\w+)\}", self.path))
