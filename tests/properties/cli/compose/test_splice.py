"""Text inserted into YAML can be removed again, and nothing else ever changes."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cli.compose.outline import outline_of
from cli.compose.splice import applied, entries_at_end, entries_before, entry_line, taken_out
from tests.compose_texts import compose_texts

SIDECAR = {"image": "vertice-agent", "cap_drop": ["ALL"], "environment": {"SERVICE_PORT": "8000", "no": "no"}}


def loaded(text: str) -> Any:
    return yaml.load(text, Loader=yaml.BaseLoader)


@given(compose_texts(), st.data())
@settings(max_examples=400, deadline=None)
def test_inserted_text_is_present_and_can_be_removed(text: str, data: st.DataObject) -> None:
    before = loaded(text)
    outline = outline_of(text)
    services = outline.root.value_of("services")
    key = outline.root.pair("services")
    assert services is not None
    assert key is not None
    chosen = data.draw(st.lists(st.sampled_from(services.pairs), unique_by=lambda pair: pair[0].start))
    edits = [entry_line(text, body, "dns", ["127.0.0.1"]) for _, body in chosen]
    edits.append(entries_at_end(text, services, {"web-agent": SIDECAR}, "netns"))
    edits.append(entries_before(text, key[0], {"x-agent": {"image": "x"}}, "netns"))
    after = applied(text, edits)
    event("within" if "within" in after else "after" if "after the last" in after else "lines")

    for name, _ in chosen:
        before["services"][name.value]["dns"] = ["127.0.0.1"]
    before["services"]["web-agent"] = SIDECAR
    before["x-agent"] = {"image": "x"}
    assert loaded(after) == before
    assert taken_out(after) == text


@given(compose_texts())
def test_a_text_without_insertions_is_unchanged(text: str) -> None:
    assert taken_out(text) == text
