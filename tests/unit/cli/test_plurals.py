"""One thing is singular, and every other number plural."""

from __future__ import annotations

import pytest

from cli.plurals import counted


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 services"), (1, "1 service"), (2, "2 services"), (1000, "1000 services")]
)
def test_a_count_agrees_with_its_noun(count: int, said: str) -> None:
    assert counted(count, "service") == said


def test_an_irregular_plural_is_given() -> None:
    assert counted(2, "registry", "registries") == "2 registries"
