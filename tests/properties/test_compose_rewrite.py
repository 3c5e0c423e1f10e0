"""Names in the place of addresses, in any compose file: only these change, and a second time nothing does."""

from __future__ import annotations

import difflib

import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from agent.compose.reader import project_of
from agent.compose.rewriting import rewritten
from agent.compose.standing import Standing
from tests.compose_texts import NAMES, compose_texts

ADDRESSES = ("http://{0}:8034/x", "http://{0}:80", "{0}:8034", "http://nobody:1", "https://{0}:8034")
# Every service of block style listens on 8034.
FORMS = (
    "expose: [8034]\nenvironment: [A={0}, B=1]",
    "expose: [8034]\nenvironment: {{A: '{0}'}}",
    'expose: [8034]\nenvironment:\n  "A": "{0}"  # said\n  B:',
)
TARGETS = [name for name in NAMES if '"' not in name and "'" not in name]
EXTRAS = st.builds(
    lambda form, address, name: form.format(address.format(name)),
    st.sampled_from(FORMS),
    st.sampled_from(ADDRESSES),
    st.sampled_from(TARGETS),
)


@given(EXTRAS.flatmap(compose_texts), st.sets(st.sampled_from(NAMES), max_size=2))
@settings(max_examples=300, deadline=None)
def test_only_addresses_change_and_a_second_time_nothing_does(text: str, silent: set[str]) -> None:
    services = yaml.load(text, Loader=yaml.BaseLoader)["services"]
    standing = Standing(dict.fromkeys(services, 8034), frozenset(services) - silent)
    outcome = rewritten(text, project_of([("c.yml", text.encode())]), standing, "vertice.internal")
    event(f"{min(len(outcome.changes), 3)} changes")
    back = outcome.text
    for change in outcome.changes:
        back = back.replace(change.after, change.before, 1)
    assert back.count("\r\n") == text.count("\r\n")
    matcher = difflib.SequenceMatcher(
        None, text.splitlines(keepends=True), outcome.text.splitlines(keepends=True), False
    )
    for tag, low, high, _, _ in matcher.get_opcodes():
        assert tag in ("equal", "replace")
        assert tag == "equal" or all("A" in line for line in text.splitlines()[low:high])
    again = rewritten(outcome.text, project_of([("c.yml", outcome.text.encode())]), standing, "vertice.internal")
    assert again.text == outcome.text
    assert again.changes == ()
