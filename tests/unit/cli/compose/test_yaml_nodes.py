"""YAML text as nodes: documents, anchors, and where the text is none."""

from __future__ import annotations

import pytest

from cli.compose.errors import ComposeError
from cli.compose.yaml_nodes import MAX_DOCUMENTS, named_in, nodes_of


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("# said\n", 0), ("a: 1\n", 1), ("a: 1\n...\n", 1), ("a: 1\n---\nb: 1\n", 2)]
)
def test_each_document_has_a_root(text: str, count: int) -> None:
    assert len(nodes_of(text.encode(), "c.yml")) == count


def test_an_alias_means_the_last_anchor_before_it() -> None:
    (root,) = nodes_of(b"a: &x 1\nb: *x\nc: &x {d: &x 2, e: *x}\nf: *x\n", "c.yml")
    values = {key.value: value for key, value in root.value}
    assert (values["a"].value, values["b"].value) == ("1", "1")
    assert [value.value for _, value in values["c"].value] == ["2", "2"]
    assert values["f"].value == "2"


@pytest.mark.parametrize("text", ["a: &x 1\nb: &x 2\nc: *y\n", "a: *y\n"])
def test_an_alias_without_an_anchor_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(ComposeError, match="undefined alias") as error:
        nodes_of(text.encode(), "c.yml")
    assert error.value.place.line == text.count("\n")


def test_documents_without_end_are_refused() -> None:
    with pytest.raises(ComposeError, match="documents"):
        nodes_of(b"a: 1\n---\n" * (MAX_DOCUMENTS + 1), "c.yml")


@pytest.mark.parametrize(
    ("text", "name"), [("name: a\n", "a"), ("name: [a]\n", ""), ("b: {name: a}\n", ""), ("- name\n", "")]
)
def test_the_name_is_the_one_at_the_top(text: str, name: str) -> None:
    (root,) = nodes_of(text.encode(), "c.yml")
    assert named_in(root) == name
