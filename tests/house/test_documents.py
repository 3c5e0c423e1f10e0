"""The documents match the code, and every name in them exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agent.settings.file import file_key
from agent.settings.reload_plan import LIVE, NEED_RESTART
from agent.settings.settings import read_agent_settings
from agent.settings.table import TABLE as AGENT_SETTINGS
from cli.command_tree import COMMANDS, CommandGroup
from cli.main import main
from registry_core.follow.settings import FollowSettings
from registry_core.replica import Replica
from registry_core.replica_settings import SETTINGS as REGISTRY_SETTINGS
from registry_core.replica_settings import ReplicaSettings
from registry_core.telemetry.log_levels import COMPONENTS
from tools.dashboards.every import DASHBOARDS
from tools.documents import DOCS, MADE, job_of
from tools.log_page import LEVELS, events
from tools.metrics_page import metrics
from tools.sources import PRODUCT, ROOT, modules

README = ROOT / "README.md"
WRITTEN = [README, ROOT / "CONTRIBUTING.md", ROOT / "compose" / "README.md", *sorted(DOCS.rglob("*.md"))]
# Names that look like settings: those of the tests, of compose files, and of other programs.
OTHER_NAMES = {
    "AGENT_NAME",
    "REDIS_PASSWORD",
    "REGISTRY_OPENED",
    "REGISTRY_USER",
    "SERVICE_PORTS",
}


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("path", MADE, ids=lambda p: p.name)
def test_generated_documents_match_the_code(path: Path) -> None:
    assert text_of(path) == MADE[path](), "run `make map`"


def test_every_module_states_its_job() -> None:
    assert [m for m in modules() if not job_of(m)] == []


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 150


def test_every_page_is_in_the_index() -> None:
    index = text_of(DOCS / "README.md")
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    records = {page for page in pages if page.startswith("adr/") and page != "adr/README.md"}
    runbooks = {page for page in pages if page.startswith("runbooks/") and page != "runbooks/README.md"}
    assert {page for page in pages - records - runbooks if f"]({page})" not in index} == set()
    of_runbooks = text_of(DOCS / "runbooks" / "README.md")
    assert {page for page in runbooks if f"]({Path(page).name})" not in of_runbooks} == set()
    of_records = text_of(DOCS / "adr" / "README.md")
    assert {page for page in records if f"]({Path(page).name})" not in of_records} == set()


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for document in WRITTEN:
        named = set(re.findall(r"(?:`|^ {4})make ([a-z][a-z-]+)", text_of(document), re.MULTILINE))
        assert named <= targets, f"{name_of(document)}: {named - targets}"


def test_every_command_in_the_documents_exists(capsys: pytest.CaptureFixture[str]) -> None:
    groups = "|".join(node.name for node in COMMANDS if isinstance(node, CommandGroup))
    pattern = rf"(?:^ +|bin/|`|\| |; |&& )vertice ((?:(?:{groups}) )?[a-z]+(?:-[a-z]+)*)\b"
    named = {command for document in WRITTEN for command in re.findall(pattern, text_of(document), re.MULTILINE)}
    assert len(named) >= 15
    for command in sorted(named):
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), "--help"])
        shown = capsys.readouterr()
        assert ended.value.code == 0, f"vertice {command}: {shown.err}"
        assert "exit codes" in shown.out.lower(), command
        assert all(word in shown.out for word in command.split()), command


def test_every_setting_in_the_documents_exists() -> None:
    known = {name for one in (*AGENT_SETTINGS, *REGISTRY_SETTINGS) for name in one.spellings} | OTHER_NAMES
    for document in WRITTEN:
        if document.parent.name != "adr":  # a decision about a setting outlives the setting
            named = set(re.findall(r"\b(?:AGENT|REGISTRY|SERVICE)_[A-Z_]*[A-Z]\b", text_of(document)))
            assert named - known == set(), name_of(document)


def test_the_example_of_the_agents_file_is_valid(tmp_path: Path) -> None:
    _, _, rest = text_of(DOCS / "reference" / "settings.md").partition("```toml\n")
    file = tmp_path / "agent.toml"
    file.write_text(rest.partition("```")[0], encoding="utf-8")
    assert [spec.claim.service_name for spec in read_agent_settings({}, file).services] == ["billing", "mail_relay"]


def test_every_test_in_the_documents_exists() -> None:
    for document in WRITTEN:
        for named in re.findall(
            r"`((?:wire|unit|integration|properties|scenarios)/(?:\w+/)*test_\w+\.py)`", text_of(document)
        ):
            assert (ROOT / "tests" / named).is_file(), f"{name_of(document)}: {named}"


def test_the_links_within_the_documents_resolve() -> None:
    for document in [*WRITTEN, ROOT / "CHANGELOG.md"]:
        for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text_of(document)):
            if "://" in link:
                continue
            target = document.parent / link if link else document
            assert target.exists(), f"{name_of(document)}: {link}"
            if anchor:
                assert anchor in anchors(target), f"{name_of(document)}: {link}#{anchor}"


def test_the_changelog_says_nothing_twice() -> None:
    """Merges of branches that carry the same lines leave them in twice."""
    unreleased = text_of(ROOT / "CHANGELOG.md").partition("## Unreleased")[2].partition("\n## ")[0]
    openings = [" ".join(entry.split())[:80] for entry in re.findall(r"(?ms)^- .*?(?=^- |^#|\Z)", unreleased)]
    assert len(openings) > 1
    assert sorted(openings) == sorted(set(openings))


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#{1,6} (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_page_of_reloads_has_every_setting_that_a_reload_may_change() -> None:
    rows = text_of(DOCS / "guide" / "reload.md").splitlines()
    (restart,) = [row for row in rows if "settings_need_restart" in row]
    assert {
        key for name in ", ".join(NEED_RESTART.values()).split(", ") if (key := file_key(name)) not in restart
    } == set()
    live = [row for row in rows if "effective at once" in row or "from the next request on" in row]
    names = ", ".join(LIVE.values()).split(", ")
    assert {key for name in names if f"`{(key := file_key(name))}`" not in str(live)} == set()


# -- the page of metrics

# Names of metrics in expressions and in prose; those of recording rules have colons.
METRIC = re.compile(r"(?<![:\w/-])(?:registry|agent|cache|vertice)_[a-z0-9_]*[a-z0-9]\b(?!:)")


def test_the_page_of_metrics_has_what_a_replica_exposes() -> None:
    replicas = (Replica(ReplicaSettings()), Replica(ReplicaSettings(follow=FollowSettings(("http://127.0.0.1:1",)))))
    texts = [replica.metrics.exposition().decode() for replica in replicas]
    exposed = {name for text in texts for name in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)}
    assert len(exposed) > 10
    documented = {metric.name for metric in metrics() if metric.program == "registry"}
    assert {name for name in exposed if not name.endswith("_created")} == documented


def test_the_page_of_metrics_has_every_metric_used_by_rules_runbooks_and_dashboard() -> None:
    folder = ROOT / "compose" / "observability"
    files = [yaml.safe_load(text_of(folder / name)) for name in ("rules.yml", "slo.yml")]
    asked = [rule["expr"] for rules in files for group in rules["groups"] for rule in group["rules"]]
    asked += [query.expr for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries]
    asked += re.findall(METRIC, "\n".join(text_of(page) for page in (DOCS / "runbooks").glob("*.md")))
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(METRIC, "\n".join(asked))}
    assert len(names) > 20
    assert names <= {metric.name for metric in metrics()}


# -- the page of log events


def test_every_logger_has_a_name_that_the_page_of_log_events_recognises() -> None:
    for module in modules(PRODUCT):
        for node in ast.walk(ast.parse(text_of(module))):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Attribute(attr="get_logger"))):
                    assert name in ("log", "_log"), f"{module}: {name}"


def test_every_line_is_logged_by_a_call_that_the_page_of_log_events_sees() -> None:
    for module in modules(PRODUCT):
        tree = ast.parse(text_of(module))
        if "structlog" not in text_of(module):
            continue
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="log" | "_log"), attr=method):
                    assert id(node) in called, f"{module}: {node.lineno}: call it here, or its event is not found"
                    assert method in LEVELS, f"{module}: {node.lineno}: {method}"


def test_every_component_of_a_program_has_a_level_and_there_are_no_others() -> None:
    libraries = {"aiohttp", "asyncio", "redis"}
    for program, components in COMPONENTS.items():
        assert set(components) - libraries == {event.component for event in events() if event.program == program}


def test_an_event_is_listed_where_it_can_occur() -> None:
    of = {program: {event.event for event in events() if event.program == program} for program in COMPONENTS}
    assert "audit_opened" in of["registry"] - of["agent"]
    assert "registered" in of["agent"] - of["registry"]
    assert "background_task_died" in of["agent"] & of["registry"]


def test_the_page_of_log_events_covers_each_way_to_name_an_event() -> None:
    named = {event.event: event for event in events()}
    assert named["registered"].details == ("service", "instance", "status")  # keys from a dictionary
    assert "shard_unusable" in named  # passed to the function that logs it


# -- the architecture


def functions_named(document: Path) -> Iterator[tuple[str, str]]:
    """Return every (path of a module, dotted name) that a document names as `path/module.py: name`."""
    return iter(re.findall(r"`([\w/]+\.(?:py|lua)):\s+([\w.]+)`", text_of(document)))


def has(module: Path, dotted: str) -> bool:
    """Return whether a module defines a function, a method or a class of that name."""
    if module.suffix == ".lua":
        return dotted in text_of(module)
    scope: list[ast.stmt] = ast.parse(text_of(module)).body
    for part in dotted.split("."):
        found = [
            node
            for node in scope
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == part
        ]
        if not found:
            return False
        scope = found[0].body
    return True


def test_every_function_in_the_documents_exists() -> None:
    for document in WRITTEN:
        for path, name in functions_named(document):
            module = ROOT / path
            assert module.is_file(), f"{name_of(document)}: {path}"
            assert has(module, name), f"{name_of(document)}: {path}: {name}"
