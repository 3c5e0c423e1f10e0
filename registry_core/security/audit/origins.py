"""The names of audit logs, which stand in their heads as the origin. Pure."""

from __future__ import annotations

import re
from typing import Final

# Of any log of ours. It keeps the text of a head apart from what witnesses sign.
ORIGIN_PREFIX: Final = "vertice-audit/"
MAX_NAME: Final = 128
# Visible ASCII without the plus sign, which separates the parts of a key.
_NAME: Final = re.compile(rf"[!-*,-~]{{1,{MAX_NAME}}}", re.ASCII)
_REPLICA: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,62}[A-Za-z0-9])?", re.ASCII)


def is_name(name: str) -> bool:
    """Return whether a log or a witness may have this name."""
    return _NAME.fullmatch(name) is not None


def replica_name(value: str) -> str:
    """Read the name of a replica in the audit. Raises ValueError."""
    name = value.strip()
    if not _REPLICA.fullmatch(name):
        raise ValueError("it may contain letters, digits and . _ : - only, 64 at most")
    return name


def origin_of(replica: str) -> str:
    """Return the origin of a replica's log."""
    return f"{ORIGIN_PREFIX}{replica}"


def drawn_name(host: str, drawn: str) -> str:
    """Return a name for a log whose replica was given none: the host's, and `drawn`, so that no other has it."""
    readable = re.sub(r"[^A-Za-z0-9.-]", "-", host)[:40].strip(".-") or "replica"
    return f"{readable}-{drawn}"
