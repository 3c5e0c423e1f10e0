"""`vertice usage` against a real registry and a real agent; Graphviz reads the graph."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import command
from tests.programs import VERTICE, accepts, find, free_port, running, wait_until

COMPOSE = """\
services:
  billing:
    image: example/billing:1
    environment:
      SEARCH_URL: http://search:8000
      MAIL_URL: http://mail:8000
  search:
    image: example/search:1
    expose: ["8000"]
  mail:
    image: example/mail:1
    expose: ["8000"]
"""


def usage(*words: str, url: str) -> subprocess.CompletedProcess[str]:
    return command("usage", *words, "--registry", url)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with search and mail, and the agent of billing, which was asked for search."""
    folder = tmp_path_factory.mktemp("usage")
    port, http, dns, check = (free_port() for _ in range(4))
    where = f"http://127.0.0.1:{port}"
    registry = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    curl = [find("curl"), "-fsS", "-X", "POST", "-H", "Content-Type: application/json", f"{where}/register", "-d"]
    agent = {
        "REGISTRY_URL": where,
        "SERVICE_NAME": "billing",
        "SERVICE_HOST": "127.0.0.1",
        "SERVICE_PORT": str(check),
        "AGENT_CHECK": "none",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
    }
    with running(registry, folder / "registry.log", {"REGISTRY_REPORT_EVERY": "1", "REGISTRY_WARMING": "0"}):
        wait_until(lambda: accepts(port), "the registry listens")
        for number, name in enumerate(("search", "mail"), 8000):
            body = json.dumps({"service_name": name, "host": "10.0.0.7", "port": number})
            subprocess.run([*curl, body], check=True, timeout=20, capture_output=True)
        with running([*VERTICE, "agent"], folder / "agent.log", agent):
            ask = [find("curl"), "-fsS", f"http://127.0.0.1:{http}/resolve/search"]
            wait_until(
                lambda: subprocess.run(ask, check=False, timeout=20, capture_output=True).returncode == 0,
                "the agent knows search",
            )
            wait_until(lambda: "billing" in usage("search", url=where).stdout, "the agent has reported")
            yield where


def test_it_shows_who_asked_and_says_what_is_unused(url: str) -> None:
    shown = usage(url=url)
    assert shown.returncode == 0, shown.stderr
    assert any(line.split()[:2] == ["search", "billing"] for line in shown.stdout.splitlines())
    unused = usage("--unused", url=url).stdout.splitlines()
    assert unused[1:3] == ["  billing", "  mail"]
    said = json.loads(usage("--unused", "-o", "json", url=url).stdout)
    assert {one["service"]: one["verdict"] for one in said["usage"]} == {"billing": "unused", "mail": "unused"}


def test_safe_to_delete_is_said_only_of_what_nobody_uses_and_within_what_was_observed(url: str) -> None:
    safe = usage("--safe-to-delete", "mail", "--within", "1", url=url)
    assert (safe.returncode, safe.stdout.split(":")[0]) == (0, "mail"), safe.stderr
    used = usage("--safe-to-delete", "search", "--within", "1h", url=url)
    assert used.returncode == 1
    assert "billing asked for it" in used.stdout
    early = usage("--safe-to-delete", "mail", url=url)
    assert early.returncode == 1
    assert "less than 604800 s" in early.stdout
    misspelt = usage("--safe-to-delete", "mial", "--within", "1", url=url)
    assert (misspelt.returncode, misspelt.stdout) == (3, "")


def test_the_graph_lies_beside_the_declared_one_and_graphviz_reads_it(url: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(COMPOSE)
    text = usage("--graph", "text", "--compose", str(file), url=url)
    assert text.returncode == 0, text.stderr
    states = {tuple(line.split()[:2]): line for line in text.stdout.splitlines()}
    assert "declared and used" in states["billing", "search"]
    assert "declared, never asked" in states["billing", "mail"]
    dot = usage("--graph", "dot", "--compose", str(file), url=url).stdout
    drawn = subprocess.run([find("dot"), "-Tplain"], input=dot, capture_output=True, text=True, timeout=60, check=True)
    edges = {tuple(line.split()[1:3]) for line in drawn.stdout.splitlines() if line.startswith("edge ")}
    assert edges == {("billing", "search"), ("billing", "mail")}
    said = json.loads(usage("--graph", "text", "-o", "json", url=url).stdout)
    assert [(one["consumer"], one["service"]) for one in said["edges"]] == [("billing", "search")]


@pytest.mark.parametrize(
    "words", [["--compose", "x.yml"], ["billing", "--unused"], ["--within", "soon"], ["--unused", "--graph", "dot"]]
)
def test_options_that_do_not_fit_together_are_refused(words: list[str]) -> None:
    assert command("usage", *words).returncode == 2


def test_a_registry_that_is_away_is_a_failure() -> None:
    assert usage(url=f"http://127.0.0.1:{free_port()}").returncode == 1
