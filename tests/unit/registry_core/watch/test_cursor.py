"""Cursors: their text form, and invalid ones."""

from __future__ import annotations

import pytest

from registry_core.domain.events import Position
from registry_core.errors import ValidationError
from registry_core.watch.cursor import Cursor, cursor_of, parse_cursor


def test_a_cursor_survives_a_round_trip() -> None:
    cursor = cursor_of([Position(1, "b2", 7), Position(0, "a1", 42)])
    assert str(cursor) == "0.a1.42~1.b2.7"
    assert parse_cursor(str(cursor)) == cursor
    assert parse_cursor("") == Cursor()


def test_a_cursor_moves_in_one_shard_at_a_time() -> None:
    cursor = parse_cursor("0.a1.42~1.b2.7")
    assert str(cursor.moved_to(Position(0, "a1", 43))) == "0.a1.43~1.b2.7"
    assert cursor.at(1) == Position(1, "b2", 7)
    assert cursor.at(2) is None


@pytest.mark.parametrize("text", ["x", "0.a", "0.a.x", "0.a.1~", "0.a.1~0.a.2", "-1.a.1", "0.a/b.1", "0.a.1" * 2000])
def test_a_cursor_that_no_registry_made_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        parse_cursor(text)
    assert refusal.value.field == "cursor"
