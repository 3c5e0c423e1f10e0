"""Descriptors are shared out so that no part takes the last ones of the others."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from registry_core.descriptors import DescriptorDemand, shared_out

DEMANDS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(0, 50), st.integers(0, 2000)).map(lambda two: DescriptorDemand(sum(two), two[0])),
    min_size=1,
)


@given(DEMANDS, st.integers(0, 5000))
def test_each_part_gets_its_least_and_all_together_no_more_than_there_are(
    demands: dict[str, DescriptorDemand], available: int
) -> None:
    given_out = shared_out(available, demands)
    assert given_out.keys() == demands.keys()
    for name, demand in demands.items():
        assert demand.least <= given_out[name] <= demand.wanted
    assert sum(given_out.values()) <= max(available, sum(demand.least for demand in demands.values()))


@given(DEMANDS)
def test_each_part_gets_what_it_wants_when_there_are_enough(demands: dict[str, DescriptorDemand]) -> None:
    wanted = {name: demand.wanted for name, demand in demands.items()}
    assert shared_out(sum(wanted.values()), demands) == wanted
    assert shared_out(None, demands) == wanted


def limits_after(before: str, wanted: str) -> str:
    """Return the limits of a process of its own that had `before` and asked for `wanted`."""
    code = (
        "import resource as r; from registry_core.descriptors import *\n"
        f"r.setrlimit(r.RLIMIT_NOFILE, {before}); raise_descriptor_limit({wanted})\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE), descriptor_limit())"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_limit_is_raised_as_far_as_is_wanted_and_allowed() -> None:
    assert limits_after("(64, 512)", "256") == "(256, 512) 256\n"
    assert limits_after("(64, 512)", "1000") == "(512, 512) 512\n"
    assert limits_after("(64, 512)", "") == "(512, 512) 512\n"
    assert limits_after("(300, 512)", "256") == "(300, 512) 300\n", "never lowered"
