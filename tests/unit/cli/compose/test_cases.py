"""Small files of other people's kinds: what is right of each stands in its first lines."""

from __future__ import annotations

import pytest

from cli.compose.audit import Audit, audit
from cli.compose.existing_agents import agents_with
from cli.compose.findings import AuditSeverity
from cli.compose.reader import project_of
from cli.compose.rewrite import rewritten
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import Options
from cli.compose.value_edits import Rewriting
from cli.compose.waves import By, waves_of
from tests.fleets import ROOT

CASES = ROOT / "tests" / "compose_cases"


def text_of(name: str) -> str:
    return (CASES / f"{name}.yml").read_text(encoding="utf-8")


def audited(name: str) -> Audit:
    return audit(project_of([(f"{name}.yml", text_of(name).encode())]))


def rewrite(name: str) -> Rewriting:
    project = project_of([(f"{name}.yml", text_of(name).encode())])
    options = Options()
    return rewritten(text_of(name), project, agents_with(planned(project, options).sidecars, options.recipe))


def codes(found: Audit) -> set[str]:
    return {finding.code for finding in found.findings} - {"no-healthcheck", "mapped-name"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01-mended-into-wrong-port", {"unproven-port"}),
        ("02-wrong-port-internal-listener", {"identity"}),
        ("03-rewrite-identity", {"identity"}),
        ("16-words-that-are-no-hosts", set()),
        ("17-own-names", set()),
        ("19-missed-addresses", {"unproven-port", "no-port"}),
        ("32-public-urls", set()),
    ],
)
def test_addresses_that_work_are_no_errors_and_nothing_else_is_said_of_them(name: str, said: set[str]) -> None:
    found = audited(name)
    assert codes(found) == said
    assert found.count(AuditSeverity.ERROR) == 0


@pytest.mark.parametrize(
    "name",
    ["01-mended-into-wrong-port", "02-wrong-port-internal-listener", "03-rewrite-identity", "32-public-urls"],
)
def test_rewrite_keeps_them_and_says_why(name: str) -> None:
    found = rewrite(name)
    assert found.text == text_of(name)
    assert found.unchanged
    assert not any(unchanged.offered for unchanged in found.unchanged)


def test_every_way_to_write_an_address_is_found() -> None:
    found = audited("19-missed-addresses")
    assert [(a.address.variable, a.target, a.address.port) for a in found.addresses] == [
        ("DB_URL", "ora", 1522),
        ("ZOO_SERVERS", "zoo", 2888),
        ("PGHOST", "pg", None),
        ("DSN", "pg", 5439),
        ("ConnectionStrings__Db", "pg", 1433),
        ("REL_URL", "ora", 99),
        ("command", "ora", 99),
    ]
    assert [(e.consumer, e.target) for e in found.graph.edges] == [("web", "ora"), ("web", "zoo"), ("web", "pg")]


def test_a_name_that_rewrite_wrote_is_an_edge_and_its_port_is_judged() -> None:
    found = audited("37-own-zone")
    (finding,) = [f for f in found.findings if f.code != "no-healthcheck"]
    assert (finding.code, finding.severity, finding.right) == (
        "wrong-port",
        AuditSeverity.ERROR,
        "http://api.vertice.internal:8000",
    )
    planned_services = [s for wave in waves_of(found, By.DEPENDENCY) for s in wave.services]
    assert {s.name: s.radius for s in planned_services} == {"api": 1, "web": 0}


def test_a_name_that_nobody_looks_up_is_no_dependency() -> None:
    found = audited("03-rewrite-identity")
    assert (found.graph.edges, found.graph.outside) == ((), ())
    planned_services = [s for wave in waves_of(found, By.DEPENDENCY) for s in wave.services]
    assert {s.name: s.addresses for s in planned_services} == {"web": 0, "api": 0}
