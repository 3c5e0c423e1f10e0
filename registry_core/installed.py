"""Which version of this product is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def installed_version() -> str:
    """Return the version of the installed package; 0 in a checkout that is not installed. Reads a file."""
    try:
        return version("vertice-registry")
    except PackageNotFoundError:
        return "0"


VERSION: Final = installed_version()  # read once, outside of any loop
