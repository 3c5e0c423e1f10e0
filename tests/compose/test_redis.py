"""What speaks to Redis, against the Redis of compose/ha.yml: the tests of the store, run inside its image."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.compose.topology import COMPOSE, TAG
from tools.engine import ROOT, Engine

pytestmark = pytest.mark.timeout(900)

LOCK = "requirements-dev.lock"
# The image brings the servers. What the tests need beside them comes from Debian and from the lock.
RECIPE = f"""\
FROM {{image}}
USER 0:0
RUN apt-get update \\
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
        ca-certificates openssl python3 python3-venv
RUN python3 -m venv /tests
COPY {LOCK} .
RUN /tests/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r {LOCK}
"""
# One server, a master with replicas and Sentinels, and what a store does with them. The rest of the tests that start a
# Redis need programs that are not in the image.
TESTS = (
    "tests/contract",
    *(
        f"tests/integration/registry_core/store/redis/test_{name}.py"
        for name in ("access", "health", "masters", "reading", "slow", "store", "sweep")
    ),
)


@pytest.fixture
def image(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """Build an image with the servers of compose/ha.yml and what tests need; return its tag."""
    taken = yaml.safe_load((COMPOSE / "ha.yml").read_text(encoding="utf-8"))["x-redis"]["image"]
    shutil.copy(ROOT / LOCK, tmp_path)
    recipe = tmp_path / "Dockerfile"
    recipe.write_text(RECIPE.format(image=taken), encoding="utf-8")
    tag = f"vertice-redis:{TAG}"
    engine.build(recipe, tag, context=tmp_path)
    yield tag
    engine.run("rmi", "-f", tag, check=False)


def test_the_store_keeps_its_contract_on_the_redis_of_the_containers(
    engine: Engine, image: str, measured: Callable[[str], None]
) -> None:
    began = time.monotonic()
    version = engine.run("run", "--rm", "--network", "none", "--entrypoint", "redis-server", image, "--version")
    said = engine.run(
        *("run", "--rm", "--network", "none", "--tmpfs", "/tmp", "-v", f"{ROOT}:/src:ro", "-w", "/src"),
        *("-e", "PYTHONDONTWRITEBYTECODE=1", "-e", "VERTICE_TEST_REDIS=redis", "--entrypoint", "/tests/bin/python"),
        *(image, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadscope", "-m", "redis"),
        *TESTS,
        timeout_s=600,
    )
    found = re.search(r"^(\d+) passed", said, re.MULTILINE)
    assert found is not None, said
    assert int(found[1]) > 100
    number = version.partition("v=")[2].split()[0]
    measured(f"the store's tests on Redis {number}: {found[1]} passed, in {time.monotonic() - began:.0f} s")
