"""Foreign text on a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cli.terminal import masked, printable


def test_control_sequences_are_escaped() -> None:
    assert printable("a\x1b[2J\nb\u202ec") == r"a\x1b[2J\nb\u202ec"
    assert masked("a\x1b[2J\nb\u202ec") == "a?[2J?b?c"
    assert printable("grün") == masked("grün") == "grün"


def test_a_text_is_cut_before_it_is_escaped() -> None:
    assert printable("\x1b" * 1000, most=2) == r"\x1b\x1b"


@given(st.text())
def test_no_unprintable_character_is_left(text: str) -> None:
    assert printable(text).isprintable()
    assert masked(text).isprintable()
    assert len(masked(text)) == len(text)
