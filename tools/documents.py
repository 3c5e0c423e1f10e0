"""Writes the documents that are made from the code: the map of modules, the README's settings, diagrams.

A house test holds the documents against what this makes, so that they cannot drift from the code.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from agent.settings.table import TABLE as AGENT_SETTINGS
from registry_core.replica_settings import SETTINGS as REGISTRY_SETTINGS
from registry_core.settings import Setting, shown_default
from tools.diagrams import breaker_text
from tools.doctor_page import doctor_text

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("registry_core", "dns", "agent", "cli", "bench", "tools")


def modules() -> Iterator[Path]:
    """Return every module of the source, packages before what is in them."""
    for package in PACKAGES:
        yield from sorted(
            (ROOT / package).rglob("*.py"), key=lambda p: (p.parent.parts, p.name != "__init__.py", p.name)
        )


def job_of(module: Path) -> str:
    """Return the first sentence of a module's docstring; empty when it has none."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    first = " ".join(docstring.split("\n\n", maxsplit=1)[0].split())
    return re.split(r"(?<=[.])\s", first, maxsplit=1)[0]


def map_text() -> str:
    """Return docs/map.md."""
    lines = ["# Where things are", "", "Made by `make map` from the first sentence of each module.", ""]
    folder = None
    for module in modules():
        name = module.relative_to(ROOT)
        if name.parent != folder:
            folder = name.parent
            lines += ["", f"## {folder}/", ""] if lines[-1] else [f"## {folder}/", ""]
        if module.name == "__init__.py":
            lines += [job_of(module), ""]
        else:
            lines.append(f"- `{module.name}`: {job_of(module)}")
    return "\n".join(lines) + "\n"


def settings_text(settings: Iterable[Setting[Any]]) -> str:
    """Return a Markdown table of settings."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for s in settings:
        meaning = s.meaning.replace("|", r"\|")
        rows.append(f"| `{s.name}` | {_code(shown_default(s))} | {meaning} |")
    return "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return text if text in ("none", "never") else f"`{text}`"


def with_settings(readme: str) -> str:
    """Return the README with its tables of settings made anew, each between its two marks."""
    for name, settings in (("agent", AGENT_SETTINGS), ("registry", REGISTRY_SETTINGS)):
        begin, end = f"<!-- settings: {name} -->\n", f"<!-- end: {name} -->"
        head, found_begin, rest = readme.partition(begin)
        _, found_end, tail = rest.partition(end)
        if not found_begin or not found_end:
            raise ValueError(f"the README has no marks for the settings of the {name}")
        readme = head + begin + settings_text(settings) + end + tail
    return readme


def documents() -> dict[Path, str]:
    """Return the text of each document that is made from the code."""
    readme = ROOT / "README.md"
    return {
        ROOT / "docs" / "map.md": map_text(),
        ROOT / "docs" / "breaker.md": breaker_text(),
        ROOT / "docs" / "doctor.md": doctor_text(),
        readme: with_settings(readme.read_text(encoding="utf-8")),
    }


def main() -> int:
    """Write the documents."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
