"""The tests of everything that talks to Redis, run against the Redis in the image of compose/ha.yml."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tools.engine import ROOT, Engine

pytestmark = pytest.mark.timeout(900)

# One server, a master with replicas and Sentinels, and a store's operations on them. The other tests that start
# Redis need programs that are not in the image.
TESTS = (
    "tests/contract",
    *(
        f"tests/integration/registry_core/store/redis/test_{name}.py"
        for name in ("access", "health", "masters", "pages", "slow", "store", "sweep")
    ),
)


def test_every_file_of_these_tests_exists() -> None:
    assert [path for path in TESTS if not (ROOT / path).exists()] == []


def test_the_store_keeps_its_contract_on_the_redis_of_the_containers(
    engine: Engine, debian: str, measured: Callable[[str], None]
) -> None:
    began = time.monotonic()
    version = engine.run("run", "--rm", "--network", "none", "--entrypoint", "redis-server", debian, "--version")
    said = engine.run(
        *("run", "--rm", "--network", "none", "--tmpfs", "/tmp", "-v", f"{ROOT}:/src:ro", "-w", "/src"),
        *("-e", "PYTHONDONTWRITEBYTECODE=1", "-e", "HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis"),
        *("-e", "VERTICE_TEST_REDIS=redis", "--entrypoint", "/tests/bin/python"),
        *(debian, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadscope", "-m", "redis"),
        *TESTS,
        timeout_s=600,
    )
    found = re.search(r"^(\d+) passed", said, re.MULTILINE)
    assert found is not None, said
    assert int(found[1]) > 100
    number = version.partition("v=")[2].split()[0]
    measured(f"the store's tests on Redis {number}: {found[1]} passed, in {time.monotonic() - began:.0f} s")
