"""Which values of a compose file can be edited, and what an edit leaves alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.compose.address_syntax import located_in
from cli.compose.model import ComposeService, EnvEntry
from cli.compose.outline import NotEditable
from cli.compose.reader import project_of
from cli.compose.value_edits import AddressChange, Piece, Refused, Rewriting, UnchangedAddress, edited, pieces_for


def edit(text: str, after: str = "new.example:1") -> Rewriting:
    """Replace every address `old:1` of a text."""
    project = project_of([("c.yml", text.encode())])

    def pieces_of(service: ComposeService, unchanged: list[UnchangedAddress]) -> Iterator[tuple[EnvEntry, Piece]]:
        entries = {entry.name: entry for entry in service.environment}
        for entry in service.environment:
            for address in dict.fromkeys(a for _, _, a in located_in(entry.value or "", entry.name, entry.place)):
                change = AddressChange(entry.place, service.name, entry.name, address.written, after)
                try:
                    yield from pieces_for(entries, address, change)
                except Refused as reason:
                    where = (entry.place, service.name, entry.name, address.written)
                    unchanged.append(UnchangedAddress(*where, str(reason), reason.offered))

    return edited(text, project, pieces_of)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A: http://old:1/x  # old:1", "A: http://new.example:1/x  # old:1"),
        ("A: 'old:1,old:1'", "A: 'new.example:1,new.example:1'"),
        ('"A": "http://u:p@old:1"', '"A": "http://u:p@new.example:1"'),
    ],
)
def test_each_place_of_an_address_changes_and_nothing_around_it(before: str, after: str) -> None:
    text = "services:\r\n  shop:\r\n    environment:\r\n      {}\r\n"
    assert edit(text.format(before)).text == text.format(after)


@pytest.mark.parametrize(
    ("services", "reason"),
    [
        ('{shop: {environment: {A: "http://o\\x6cd:1"}}}', "escapes"),
        ("{shop: {environment: {A: 'http://${B:-old}:1'}}}", "built from variables"),
        ("{shop: {environment: {A: 'host=old port=1'}}}", "do not stand together"),
        ("{shop: {environment: {A: 'old:1'}}, web: {environment: {A: 'old:1'}}}", "no place of its own"),
    ],
)
def test_a_value_that_cannot_be_edited_in_place_is_named(services: str, reason: str) -> None:
    text = f"services: {services}\n"
    found = edit(text)
    assert found.text == text
    assert {reason in unchanged.reason for unchanged in found.unchanged} == {True}


def test_an_edit_that_would_change_something_else_is_refused() -> None:
    with pytest.raises(NotEditable):
        edit("services: {shop: {environment: {A: old:1}}}\n", after="new, B: x")
