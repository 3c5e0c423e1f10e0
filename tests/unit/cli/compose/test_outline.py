"""Where the nodes of a text stand, and which of them an alias means."""

from __future__ import annotations

import pytest

from cli.compose.outline import NotEditable, outline_of


def test_an_alias_means_the_last_anchor_before_it() -> None:
    outline = outline_of("a: &x one\nb: *x\nc: &x two\nd: *x\n")
    followed = [outline.followed(outline.root.value_of(key)) for key in "abcd"]
    assert [spot and spot.value for spot in followed] == ["one", "one", "two", "two"]


def test_an_alias_without_an_anchor_means_nothing() -> None:
    outline = outline_of("a: *x\nb: &x one\n")
    assert outline.followed(outline.root.value_of("a")) is None


def test_a_text_of_two_documents_is_not_edited() -> None:
    with pytest.raises(NotEditable, match="more than one document"):
        outline_of("a: 1\n---\nb: 2\n")
