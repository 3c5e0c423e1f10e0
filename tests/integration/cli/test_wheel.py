"""What `pip install .` installs, without extras and outside of the checkout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry_core.installed import VERSION
from tests.programs import ROOT, free_port, running, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
PACKAGES = ("agent", "cli", "dns", "registry_core")
PROGRAM = (sys.executable, "-m", "cli.main")
WITHOUT_REDIS = "raise ModuleNotFoundError(\"No module named 'redis'\", name='redis')\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, and return the folder to which it is unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "out", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words], cwd=folder, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> Mapping[str, str]:
    """Return the environment of a program that has what is installed, without the extra `registry`."""
    without = tmp_path / "without"
    without.mkdir()
    (without / "redis.py").write_text(WITHOUT_REDIS)
    return {"PYTHONPATH": os.pathsep.join(map(str, (without, installed)))}


def vertice(folder: Path, environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_has_every_file_of_the_packages(installed: Path) -> None:
    def files(root: Path) -> set[str]:
        found = (path for name in PACKAGES for path in (root / name).rglob("*") if path.is_file())
        return {str(path.relative_to(root)) for path in found if path.suffix != ".pyc"}

    assert files(installed) == files(ROOT)


def test_the_program_is_what_the_wheel_says(installed: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    assert "vertice = cli.main:main" in next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    done = vertice(tmp_path, environment, "--version")
    assert (done.stdout, done.returncode) == (f"vertice {VERSION}\n", 0)


def test_a_store_in_redis_without_its_package_says_in_one_line_what_to_install(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    settings = {**environment, "REGISTRY_STORE": "redis://127.0.0.1:1", "REGISTRY_LISTEN": f"127.0.0.1:{free_port()}"}
    done = vertice(tmp_path, settings, "registry")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("vertice: REGISTRY_STORE needs the Python package redis, which is not installed: ")
    assert "pip install 'redis[hiredis]" in line
    assert "Traceback" not in done.stderr


def test_a_whole_system_runs_from_the_package_with_the_example(
    installed: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    ports = [word for name in ("registry", "http", "dns") for word in (f"--{name}-port", str(free_port()))]
    inside = ["env", "-C", str(tmp_path), *PROGRAM, "dev", *ports]
    with running(inside, tmp_path / "log", {**environment, "TMPDIR": str(tmp_path)}) as program:
        wait_until(lambda: "Ctrl-C ends everything" in program.output(), "everything runs", timeout_s=90)
        program.signal(signal.SIGINT)
        assert program.process.wait(30) == 0, program.output()
    assert f"{installed / 'cli/dev/example.yml'}: 14 services, of which 12 can be used." in program.output()
    assert "Traceback" not in program.output()
