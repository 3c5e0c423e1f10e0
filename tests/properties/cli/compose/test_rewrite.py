"""For any environment, each address is changed or kept with a reason, once, and nothing else changes."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from cli.compose.audit import audit
from cli.compose.existing_agents import agents_with
from cli.compose.fleet_names import Meant
from cli.compose.reader import project_of
from cli.compose.rewrite import rewritten
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import Options
from cli.compose.undo_rewrite import undone
from cli.compose.value_edits import Rewriting

SCHEMES = st.sampled_from(["", "http://", "https://", "ws://", "http://u:p@", "tcp://", "jdbc:postgresql://"])
HOSTS = st.sampled_from(
    ["web", "web_cart", "web-cart", "WEB", "two", "localhost", "away.example", "web.vertice.internal"]
)
PORTS = st.sampled_from(["", ":80", ":8080", ":8010", ":70000", ":9999"])
ADDRESSES = st.builds(lambda *parts: "".join(parts), SCHEMES, HOSTS, PORTS, st.sampled_from(["", "/a", "/a?b=web:80"]))
VALUES = st.lists(ADDRESSES, min_size=1, max_size=3).map(",".join) | st.sampled_from(["8080", "web", "plain", "$${A}"])
QUOTES = st.sampled_from(["{}", "'{}'", '"{}"', "{}  # web:80"])
NAMES = st.sampled_from(["A_URL", "B_HOST", "C_HOSTS", "D", "E_ADDR"])
OPTIONS = Options()


def rewrite(text: str) -> Rewriting:
    project = project_of([("c.yml", text.encode())])
    agents = agents_with(planned(project, OPTIONS).sidecars, OPTIONS.recipe)
    return rewritten(text, project, agents)


@st.composite
def texts(draw: st.DrawFn) -> str:
    variables = draw(st.dictionaries(NAMES, st.tuples(VALUES, QUOTES), min_size=1, max_size=4))
    if draw(st.booleans()):
        variables["B_PORT"] = (draw(st.sampled_from(["80", "8080", "70000"])), "{}")
    lines = "".join(f"      {name}: {quotes.format(value)}\n" for name, (value, quotes) in variables.items())
    return (
        f"services:\n  asks:  # web:80\n    expose: [7000]\n    environment:\n{lines}"
        "  web: {ports: ['8080:80'], build: ., healthcheck: {test: 'curl http://localhost/'}}\n"
        "  web_cart: {expose: [8010], build: ., healthcheck: {test: 'curl http://localhost:8010/'}}\n"
        "  two: {expose: [8001, 8002]}\n"
    )


def without_environment(text: str) -> Any:
    found = yaml.safe_load(text)
    environment = found["services"]["asks"].pop("environment")
    return found, list(environment)


@given(texts())
def test_every_address_is_changed_or_kept_once_and_a_second_run_changes_nothing(text: str) -> None:
    found = rewrite(text)
    event("changed" if found.text != text else "same")
    assert without_environment(found.text) == without_environment(text)
    assert [line.partition("#")[2] for line in found.text.splitlines()] == [
        line.partition("#")[2] for line in text.splitlines()
    ]
    judged = [
        j
        for j in audit(project_of([("c.yml", text.encode())])).addresses
        if not (j.is_discovered and j.code not in ("wrong-port", "published-port", "port-out-of-range"))
        and not (j.meant is Meant.ITSELF and j.code is None and not j.identity)
    ]
    told = [(c.variable, c.before) for c in found.changes] + [(k.variable, k.address) for k in found.unchanged]
    assert sorted(pair for pair in told if pair[0] != "B_PORT") == sorted(
        (j.address.variable, j.address.written) for j in judged
    )
    again = rewrite(found.text)
    assert again.text == found.text
    assert again.changes == ()


def edges(text: str) -> list[tuple[str, str]]:
    return [(e.consumer, e.target) for e in audit(project_of([("c.yml", text.encode())])).graph.edges]


@given(texts())
def test_the_graph_is_the_same_before_and_after_and_when_it_is_undone(text: str) -> None:
    found = rewrite(text)
    back = undone(found.text, project_of([("c.yml", found.text.encode())]), [OPTIONS.zone])
    event("changed" if back.text != found.text else "same")
    assert edges(found.text) == edges(text)
    assert edges(back.text) == edges(text)
    left = [a for a in audit(project_of([("c.yml", back.text.encode())])).addresses if a.is_discovered]
    assert {(a.address.variable, a.address.written) for a in left} <= {(u.variable, u.address) for u in back.unchanged}


@given(texts())
def test_a_port_changes_only_where_something_proves_it_wrong(text: str) -> None:
    found = rewrite(text)
    codes = {
        (j.address.variable, j.address.written): (j.code, j.evidence)
        for j in audit(project_of([("c.yml", text.encode())])).addresses
    }
    for change in found.changes:
        if change.why and (change.variable, change.before) in codes:
            code, evidence = codes[change.variable, change.before]
            assert code in ("wrong-port", "published-port", "other-spelling")
            assert evidence


@given(texts())
def test_changed_addresses_are_right_and_name_services_of_the_fleet(text: str) -> None:
    project = project_of([("c.yml", text.encode())])
    for change in rewrite(text).changes:
        if change.variable != "B_PORT":
            host, _, port = change.after.rpartition(":")
            name = host.removesuffix(f".{OPTIONS.zone}").replace("-", "_")
            assert [p.targets[0] for p in project.services[name].tcp_ports()] == [int(port)]
