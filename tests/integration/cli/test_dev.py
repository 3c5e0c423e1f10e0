"""`vertice dev --check` as a command: what it takes from its surroundings, what it says, and how it ends."""

from __future__ import annotations

from pathlib import Path

from tests.commands import command
from tests.fleets import ROOT

CASE = ROOT / "tests" / "compose_cases" / "31-dev-ignores-environment.yml"


def test_variables_come_from_the_environment() -> None:
    done = command("dev", CASE, "--check", WEBPORT="3000")
    assert (done.returncode, done.stdout) == (0, f"{CASE}: 1 service, of which 1 can be used.\n")
    assert command("dev", CASE, "--check").returncode == 1


def test_what_is_worth_knowing_is_listed_and_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nEXPOSE 8000\n")
    (tmp_path / "compose.yml").write_text("name: mall\nservices: {db: {image: postgres}, shop: {build: .}}\n")
    done = command("dev", "compose.yml", "--check", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "compose.yml: 2 services, of which 2 can be used.",
        "Worth knowing (3):",
        (
            "  - db: it is registered as db-mall: a service name has at least 3 characters, this one has 2 "
            "(label vertice.name: another name) (line 2)"
        ),
        "  - db: its port, 5432, comes from its image (line 2)",
        "  - shop: its port, 8000, comes from EXPOSE in Dockerfile (line 2)",
    ]


def test_help_says_where_ports_are_from() -> None:
    said = " ".join(command("dev", "--help").stdout.split())
    assert "EXPOSE in its Dockerfile" in said
