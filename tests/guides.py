"""The examples of the guides: what stands in a fenced block is run, or read, by a test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.programs import ROOT

GUIDES: Final = ROOT / "docs" / "guide"
_BLOCK: Final = re.compile(r"^```(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the page's code blocks in that language."""
    return [text for named, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if named == language]


def block(page: str, language: str) -> str:
    """Return the one code block in that language of a guide."""
    (text,) = blocks(GUIDES / page, language)
    return text
