"""The previous release as real programs: unpacked from the git history, and run unmodified.

Only the other release itself can judge what two releases send each other and leave for each other in Redis. When a
release is made, set `PREVIOUS` to the commit of the one before it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.programs import VERTICE, find

ROOT = Path(__file__).resolve().parent.parent
# The last commit before the layout of the keys and the order of writes changed.
PREVIOUS: Final = "f10308dc2c977ea6a845dcb8430ff800fd020351"
PACKAGES: Final = ("agent", "dns", "registry_core")
_MAIN: Final = "import sys; from agent.cli.main import main; sys.exit(main())"


class Release(NamedTuple):
    """One release, and the command that runs its `vertice`."""

    name: str
    vertice: tuple[str, ...]


THIS: Final = Release("new", VERTICE)


def previous_release(folder: Path) -> Release:
    """Unpack the previous release into `folder`. Skips the test with the reason when there is no history."""
    packed = folder / "previous.tar"
    argv = ["git", "-C", str(ROOT), "archive", "--format=tar", f"--output={packed}", PREVIOUS, *PACKAGES]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        pytest.skip(f"TWO RELEASES WERE NOT TRIED TOGETHER: git cannot be run ({error})")
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["git says nothing"]
        pytest.skip(
            f"TWO RELEASES WERE NOT TRIED TOGETHER: commit {PREVIOUS[:7]} of the one before is not in this checkout "
            f"(a tarball, or a shallow clone: git fetch --unshallow); {said[0]}"
        )
    code = folder / "previous"
    code.mkdir()
    subprocess.run([find("tar"), "-xf", str(packed), "-C", str(code)], timeout=60, check=True)
    # It must not import from the tests' working folder. Nor may coverage measure it, which would look for its
    # files after they are gone.
    clean = [find("env"), "-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START"]
    clean += ["PYTHONSAFEPATH=1", f"PYTHONPATH={code}"]
    vertice = (*clean, VERTICE[0], "-c", _MAIN)
    shown = subprocess.run(
        [*vertice[:-1], "import registry_core.replica as r; print(r.__file__)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert Path(shown.stdout.strip()).is_relative_to(code), "it runs its own code"
    return Release("old", vertice)
