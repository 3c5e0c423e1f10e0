"""The checks on every test catch what they are meant to catch."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent.parent
CONFTEST = ROOT / "tests" / "conftest.py"


@pytest.fixture(autouse=True)
def _modules_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the checks are a module among them


def run(pytester: pytest.Pytester, test: str) -> pytest.RunResult:
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(test)
    return pytester.runpytest_subprocess("-p", "no:randomly", timeout=60)


def test_a_test_that_leaves_a_task_behind_fails(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import asyncio
        kept = []
        async def test_leaks():
            kept.append(asyncio.create_task(asyncio.sleep(60)))
        """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*tasks left behind*"])


def test_a_test_whose_product_code_blocks_the_loop_fails(pytester: pytest.Pytester) -> None:
    # The guard watches the calls made by the product's packages; this one stands for the agent.
    pytester.makepyfile(**{"agent/__init__": "", "agent/sleepy": "import time\ndef nap(): time.sleep(0.01)\n"})
    result = run(
        pytester,
        """
        from agent.sleepy import nap
        async def test_blocks():
            nap()
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*BlockingError*"])


def test_a_well_behaved_test_passes(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import asyncio
        async def test_behaves():
            await asyncio.gather(asyncio.create_task(asyncio.sleep(0)))
        """,
    )
    result.assert_outcomes(passed=1)
