"""The version of this product: its one home, which pyproject.toml reads. To ask the installation takes a megabyte."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
