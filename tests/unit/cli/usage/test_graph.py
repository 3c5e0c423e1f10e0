"""The observed graph beside the declared one: used, never asked, not declared, and what cannot be known."""

from __future__ import annotations

from cli.usage.graph import DeclaredEdge, EdgeState, dot_lines, edges_of, graph_lines
from registry_core.usage.ledger import ReplicaPart
from registry_core.usage.report import Asked, Face
from registry_core.usage.table import UsageTable
from registry_core.usage.views import UsageView
from tests.unit.registry_core.usage.test_merge import NOW
from tests.unit.registry_core.usage.test_table import agent, part

DECLARED = [
    DeclaredEdge("web", "billing", ("BILLING_URL",)),
    DeclaredEdge("web", "search"),
    DeclaredEdge("batch", "billing"),
]
WEB = agent("a1", Asked("billing", Face.DNS, 50, 4.0), Asked("mail", Face.HTTP, 1, 9.0), services=("front", "web"))


def seen(*parts: ReplicaPart) -> UsageView:
    return UsageTable(parts, (), NOW).view(("billing", "search", "mail"), str)


def test_without_a_file_there_is_what_was_observed() -> None:
    states = [(one.consumer, one.service, one.state) for one in edges_of(seen(part("r1", WEB)))]
    assert states == [
        ("front, web", "billing", EdgeState.OBSERVED),
        ("front, web", "mail", EdgeState.OBSERVED),
    ]


def test_what_is_declared_is_used_never_asked_or_not_known() -> None:
    edges = edges_of(seen(part("r1", WEB)), DECLARED)
    assert {(one.consumer, one.service): (one.state, one.declared_by) for one in edges} == {
        ("front, web", "billing"): (EdgeState.USED, "BILLING_URL"),
        ("front, web", "mail"): (EdgeState.UNDECLARED, ""),
        ("web", "search"): (EdgeState.NEVER_ASKED, "depends_on"),
        ("batch", "billing"): (EdgeState.NOT_KNOWN, "depends_on"),
    }


def test_with_a_doubt_nothing_is_said_to_be_never_asked() -> None:
    edges = edges_of(seen(part("r1", WEB, unreported=1)), DECLARED)
    assert {one.state for one in edges if one.questions == 0} == {EdgeState.NOT_KNOWN}


def test_names_are_the_same_whether_written_with_underscores_or_not() -> None:
    asked = agent("a1", Asked("ip-intel", Face.DNS, 5, 4.0), services=("web-app",))
    (edge,) = edges_of(seen(part("r1", asked)), [DeclaredEdge("web_app", "ip_intel")])
    assert edge.state is EdgeState.USED


def test_the_graph_as_text_and_in_dot() -> None:
    view = seen(part("r1", WEB))
    edges = edges_of(view, DECLARED)
    assert graph_lines(edges, view)[0].split() == [
        "CONSUMER",
        "SERVICE",
        "RATE",
        "LAST",
        "ASKED",
        "STATE",
        "DECLARED",
        "BY",
    ]
    dot = list(dot_lines(edges))
    assert '  "front, web" -> "billing" [label="30/min"];' in dot
    assert '  "web" -> "search" [style=dashed, color=gray];' in dot
    assert '  "batch" -> "billing" [style=dotted, color=gray];' in dot
    assert '  "front, web" -> "mail" [label="36/h", color=red];' in dot


def test_hostile_names_stay_in_their_quotes() -> None:
    evil = agent("a1", Asked("billing", Face.DNS, 1, 1.0), services=('x"]; evil [', "y\\"))
    (line,) = [line for line in dot_lines(edges_of(seen(part("r1", evil)))) if "->" in line]
    assert line.startswith('  "x\\"]; evil [, y\\\\" -> "billing"')
