"""The documents say what the code says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.programs import VERTICE
from tools import documents

ROOT = documents.ROOT


@pytest.mark.parametrize("path", documents.documents(), ids=lambda p: p.name)
def test_what_is_made_from_the_code_is_as_the_code(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == documents.documents()[path], "run `make map`"


def test_every_module_says_what_its_job_is() -> None:
    assert [m for m in documents.modules() if not documents.job_of(m)] == []


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"`?\bmake ([a-z-]+)`", (ROOT / document).read_text(encoding="utf-8")))
        assert named, document
        assert named <= targets, f"{document}: {named - targets}"


def test_every_command_that_the_readme_names_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^ +|bin/|`)vertice ([a-z]+)", readme, re.MULTILINE))
    assert len(named) >= 5
    for command in sorted(named):
        help_text = subprocess.run(
            [*VERTICE, command, "--help"], capture_output=True, text=True, timeout=30, check=False
        )
        assert help_text.returncode == 0, f"vertice {command}: {help_text.stderr}"
        assert "exit codes" in help_text.stdout.lower(), command


def test_every_test_that_the_documents_name_exists() -> None:
    for document in (ROOT / "docs").rglob("*.md"):
        for named in re.findall(
            r"`((?:wire|unit|integration|properties|scenarios)/(?:\w+/)*test_\w+\.py)`", document.read_text("utf-8")
        ):
            assert (ROOT / "tests" / named).is_file(), f"{document.name}: {named}"


def test_the_links_within_the_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"
