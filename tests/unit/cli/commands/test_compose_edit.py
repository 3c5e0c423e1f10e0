"""An edit as a diff that `patch` accepts, computed quickly however large the file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cli.commands.compose_edit import difference

SMALL = "a\nb\nc\nd\ne\nf\ng\nh\n"
LARGE = "".join(f"line {n % 700}\n" for n in range(40_000))


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch, the judge, is not installed")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SMALL, SMALL.replace("e\n", "E\n")),
        (SMALL, SMALL + "more"),
        (SMALL.removesuffix("\n"), SMALL.replace("a\n", "")),
        ("", SMALL),
        (SMALL, ""),
        (LARGE, LARGE.replace("line 7\n", "line seven\n")),
        (LARGE, LARGE.replace("line 7\n", "line 7\nline 8\nnew\n")),
        (LARGE.replace("line 7\n", "line 7\nline 8\nnew\n"), LARGE),
        (LARGE, LARGE.replace("line 7\n", "line {\n  new}\n").replace("line 9\n", "")),
        (LARGE, SMALL),
    ],
)
def test_patch_turns_one_text_into_the_other(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "c.yml"
    path.write_text(before)
    shown = difference("c.yml", before, after)
    subprocess.run(["patch", "--quiet", str(path)], input=shown, text=True, check=True, timeout=60)
    assert (path.read_text() if path.exists() else "") == after


def test_an_unchanged_text_has_no_diff() -> None:
    assert difference("c.yml", SMALL, SMALL) == ""
