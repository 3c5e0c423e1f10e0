"""The unit and integration tests on the Python of the images, which is newer than the development one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tools.engine import ROOT, Engine

pytestmark = pytest.mark.timeout(900)

# Those that start Redis are in test_redis.py, in the same image.
TESTS = ("tests/unit", "tests/wire", "tests/integration")


def test_unit_and_integration_tests_pass_on_the_python_of_the_images(
    engine: Engine, debian: str, measured: Callable[[str], None]
) -> None:
    began = time.monotonic()
    version = engine.run("run", "--rm", "--network", "none", "--entrypoint", "/tests/bin/python", debian, "--version")
    assert version.split()[1].startswith("3.13."), version
    said = engine.run(
        *("run", "--rm", "--network", "none", "--tmpfs", "/tmp", "-v", f"{ROOT}:/src:ro", "-w", "/src"),
        *("-e", "PYTHONDONTWRITEBYTECODE=1", "-e", "HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis"),
        *("--entrypoint", "/tests/bin/python"),
        *(
            debian,
            "-m",
            "pytest",
            "-q",
            "-rfE",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            "-n",
            "4",
            "--dist",
            "loadscope",
        ),
        *("-m", "not redis and not alone", *TESTS),
        timeout_s=800,
    )
    found = re.search(r"^(\d+) passed", said, re.MULTILINE)
    assert found is not None, said
    assert int(found[1]) > 3000
    measured(f"unit and integration tests on {version.strip()}: {found[0]}, in {time.monotonic() - began:.0f} s")
