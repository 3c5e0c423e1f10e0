"""A file is replaced completely or not at all, whatever goes wrong."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cli.compose.file_replacement import Changed, held, replace
from tests.fleets import ROOT

NOBODY = 65534
LARGE = 1 << 20


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_mode_and_symbolic_link_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "real.yml"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link = tmp_path / "link.yml"
    link.symlink_to("real.yml")
    replace(held(link, LARGE), b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert names(tmp_path) == {"real.yml", "link.yml"}


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    replace(held(tmp_path / "new.yml", LARGE), b"new")
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "new.yml").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("after", [b"somebody's", None])
def test_a_file_changed_meanwhile_is_not_overwritten(tmp_path: Path, after: bytes | None) -> None:
    path = tmp_path / "c.yml"
    path.write_bytes(b"old")
    before = held(path, LARGE)
    if after is None:
        path.unlink()
    else:
        path.write_bytes(after)
    with pytest.raises(Changed):
        replace(before, b"new")
    assert (path.read_bytes() if path.exists() else None) == after
    assert names(tmp_path) <= {"c.yml"}


def test_a_file_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    before = held(tmp_path / "c.yml", LARGE)
    (tmp_path / "c.yml").write_bytes(b"somebody's")
    with pytest.raises(Changed):
        replace(before, b"new")
    assert (tmp_path / "c.yml").read_bytes() == b"somebody's"


@pytest.mark.parametrize("call", ["os.fsync", "os.fchmod", "pathlib.Path.replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "c.yml"
    path.write_bytes(b"old")
    before = held(path, LARGE)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(call, full)
    with pytest.raises(OSError, match="No space left"):
        replace(before, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"c.yml"}


def test_a_read_only_folder_is_an_error() -> None:
    # Root may write everywhere, and other users may not enter the folders that pytest creates for root.
    folder = Path(tempfile.mkdtemp(prefix="vertice-"))
    path = folder / "c.yml"
    path.write_bytes(b"old")
    me = os.geteuid()
    if me == 0:
        for owned in (folder, path):
            os.chown(owned, NOBODY, -1)
    folder.chmod(0o500)
    before = held(path, LARGE)
    try:
        os.seteuid(NOBODY if me == 0 else me)
        with pytest.raises(PermissionError):
            replace(before, b"new")
        assert path.read_bytes() == b"old"
        assert names(folder) == {"c.yml"}
    finally:
        os.seteuid(me)
        folder.chmod(0o700)
        shutil.rmtree(folder)


@pytest.mark.parametrize("step", ["os.fchmod", "os.fsync", "pathlib.Path.replace"])
def test_a_killed_process_leaves_the_old_file_intact(tmp_path: Path, step: str) -> None:
    path = tmp_path / "c.yml"
    path.write_bytes(b"old")
    program = (
        "import os, pathlib, signal, sys\n"
        "from cli.compose.file_replacement import held, replace\n"
        "before = held(pathlib.Path(sys.argv[1]), 1000)\n"
        f"{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace(before, b'new' * 100)\n"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=30, check=False, cwd=root)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_anything_but_a_file_of_bounded_size_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(OSError, match=r"directory|not a file"):
            held(path, LARGE)
    (tmp_path / "large").write_bytes(b"#" * 11)
    with pytest.raises(OSError, match="more than"):
        held(tmp_path / "large", 10)
    assert held(tmp_path / "nothing", 10).data is None


def test_a_folder_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory") as error:
        held(tmp_path, 10)
    assert error.value.filename == str(tmp_path)
