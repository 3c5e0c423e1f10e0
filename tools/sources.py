"""Locates the source tree and its modules for the documents and the house tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# The installed packages, then those for developers.
PRODUCT: Final = ("registry_core", "dns", "agent", "cli")
PACKAGES: Final = (*PRODUCT, "bench", "tools")

# Where each program begins.
ROOTS: Final = {"agent": "agent.sidecar", "registry": "registry_core.replica"}


def modules(packages: tuple[str, ...] = PACKAGES) -> Iterator[Path]:
    """Return every module of `packages`, each package before its contents."""
    for package in packages:
        yield from sorted(
            (ROOT / package).rglob("*.py"), key=lambda p: (p.parent.parts, p.name != "__init__.py", p.name)
        )


def escaped(text: str) -> str:
    """Return `text` for a cell of a Markdown table."""
    return text.replace("|", r"\|")
