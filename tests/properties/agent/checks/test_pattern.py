"""Body patterns find what Python's `re` finds, and take no longer for a hostile body."""

from __future__ import annotations

import contextlib
import re

from hypothesis import example, given
from hypothesis import strategies as st

from agent.checks.pattern import Pattern

ATOMS = st.sampled_from(
    ["a", "b", "B", "-", " ", ".", r"\d", r"\w", r"\S", r"\.", "[ab]", "[^a]", "[a-c1]", r"[^\w-]", "[]a]", "\\\n"]
)
COUNTS = st.sampled_from(["*", "+", "?", "*?", "{2}", "{0,2}", "{1,}", "{0}", "{,"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    groups = st.tuples(st.sampled_from(["(", "(?:"]), inner).map(lambda pair: f"{pair[0]}{pair[1]})")
    repeated = st.tuples(ATOMS | groups, COUNTS).map("".join)
    return st.one_of(
        groups,
        repeated,
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
    )


PATTERNS = st.tuples(
    st.sampled_from(["", "(?i)"]),
    st.sampled_from(["", "^"]),
    st.recursive(ATOMS, grown, max_leaves=6),
    st.sampled_from(["", "$"]),
).map("".join)
BODIES = st.text(st.sampled_from("abcABC1-. \n]{,"), max_size=12)


@given(PATTERNS, BODIES)
@example("^a*$", "\n")
@example("a$", "a\n\n")
@example("^(a|)$", "b\n")
def test_it_finds_what_re_finds(pattern: str, body: str) -> None:
    assert Pattern(pattern).is_in(body) is (re.search(pattern, body, re.ASCII) is not None)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert Pattern(text).is_in(text) in (True, False)
