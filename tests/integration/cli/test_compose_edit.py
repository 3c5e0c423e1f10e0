"""`vertice compose inject`, `eject` and `rewrite`, on real fleets, with a foreign judge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.compose.reader import read_project
from cli.compose.registered_names import RegisteredNames
from tests.commands import command
from tests.fleets import EXAMPLE, FLEETS, fleet

pytestmark = pytest.mark.long

SMALL = """\
services:
  shop:
    expose: ["80"]
    environment: [CART_URL=http://cart:9010]
  cart: {ports: ["9010:8010"]}"""


def recipe_words(recipe: str) -> list[str]:
    """Return the arguments for a recipe."""
    return ["--recipe", recipe, *(("--host-address", "10.0.0.7") if recipe == "host" else ())]


def compose(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return command("compose", *words, cwd=cwd, **environment)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yml"
    path.write_text(SMALL)
    return path


def services_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["services"]
    return found


# -- fleets


@pytest.mark.parametrize("name", FLEETS)
@pytest.mark.parametrize("recipe", ["netns", "beside", "host"])
def test_every_service_of_a_fleet_that_can_have_an_agent_gets_one(name: str, recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    shutil.copy(fleet(name), path)
    before = path.read_bytes()
    words = recipe_words(recipe)
    listed = services_of(path)

    done = compose("inject", "compose.yml", *words, cwd=tmp_path)
    assert done.stderr == ""
    assert path.read_bytes() == before
    override = tmp_path / "compose.vertice.yml"
    written = override.read_bytes()
    left_out = {line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("left out: ")}
    code = int(bool(left_out))
    assert done.returncode == code
    agents = services_of(override)
    if recipe == "host":
        content = yaml.safe_load(written)["configs"]["vertice-agent"]["content"]
        registered = [line.split('"')[1] for line in content.splitlines() if line.startswith("name = ")]
    else:
        registered = [a["environment"]["SERVICE_NAME"] for a in agents.values() if "environment" in a]
    assert len(registered) == len(set(registered))
    names = RegisteredNames(read_project([path]))
    assert set(registered) == {names.of(name).name for name in listed.keys() - left_out}

    assert compose("inject", "compose.yml", *words, cwd=tmp_path).returncode == code
    assert override.read_bytes() == written
    assert compose("inject", "compose.yml", *words, "--write", cwd=tmp_path).returncode == code
    inside = path.read_bytes()
    assert services_of(path).keys() == listed.keys() | agents.keys()
    compose("inject", "compose.yml", *words, "--write", cwd=tmp_path)
    assert path.read_bytes() == inside
    assert compose("eject", "compose.yml", "--write", cwd=tmp_path).returncode == 0
    assert path.read_bytes() == before


def podman_compose() -> list[str]:
    """Return the command of podman-compose, or skip the test with the reason."""
    found = os.environ.get("PODMAN_COMPOSE") or shutil.which("podman-compose")
    if not found:
        pytest.skip("podman-compose is not installed (PODMAN_COMPOSE names it)")
    return [found]


@pytest.mark.parametrize("recipe", ["netns", "beside", "host"])
@pytest.mark.parametrize("way", ["override", "in place"])
def test_podman_compose_reads_the_written_files(recipe: str, way: str, tmp_path: Path) -> None:
    program = podman_compose()
    path = tmp_path / "compose.yml"
    shutil.copy(fleet("example"), path)
    words = ["inject", "compose.yml", *recipe_words(recipe)]
    compose(*words, *(["--write"] if way == "in place" else []), cwd=tmp_path)
    files = ["-f", "compose.yml", *(["-f", "compose.vertice.yml"] if way == "override" else [])]
    judged = subprocess.run(
        [*program, *files, "config"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert judged.returncode == 0, judged.stderr
    services = yaml.safe_load(judged.stdout)["services"]
    agents = {name: body for name, body in services.items() if "vertice.sidecar" in body.get("labels", {})}
    assert len(agents) == (1 if recipe == "host" else len(services) - len(services_of(fleet("example"))))
    for name, body in agents.items():
        assert body["image"] == "vertice-agent"
        assert body["read_only"] is True
        if recipe == "netns":
            assert body["network_mode"] == f"service:{name.removesuffix('-agent')}"
            assert services[name.removesuffix("-agent")]["dns"] == ["127.0.0.1"]


# -- inject and eject


def test_a_file_not_made_by_inject_is_not_overwritten(small: Path) -> None:
    mine = small.with_name("compose.vertice.yml")
    mine.write_text("services: {}\n")
    done = compose("inject", "compose.yml", cwd=small.parent)
    assert done.returncode == 2
    assert "not made by this command" in done.stderr
    assert mine.read_text() == "services: {}\n"
    assert compose("inject", "compose.yml", "--output", "compose.yml", cwd=small.parent).returncode == 2
    assert small.read_text() == SMALL


def test_output_diff_and_stdout_write_nothing_else(small: Path) -> None:
    shown = compose("inject", "compose.yml", "--output", "-", cwd=small.parent)
    assert shown.returncode == 0
    assert yaml.safe_load(shown.stdout)["services"]["cart-agent"]["network_mode"] == "service:cart"
    diff = compose("inject", "compose.yml", "--diff", cwd=small.parent)
    assert {path.name for path in small.parent.iterdir()} == {"compose.yml"}
    assert small.read_text() == SMALL
    patched = subprocess.run(
        ["patch", "-o", "-", "compose.yml"],
        input=diff.stdout,
        cwd=small.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    compose("inject", "compose.yml", "--write", cwd=small.parent)
    assert patched.stdout == small.read_text()


def test_only_the_named_services_get_an_agent_and_another_choice_replaces_it(small: Path) -> None:
    compose("inject", "compose.yml", "--write", "--service", "cart", cwd=small.parent)
    assert services_of(small).keys() == {"shop", "cart", "cart-agent"}
    compose("inject", "compose.yml", "--write", "--service", "shop", "--recipe", "beside", cwd=small.parent)
    assert services_of(small).keys() == {"shop", "cart", "shop-agent"}
    assert "dns" not in services_of(small)["cart"]
    done = compose("inject", "compose.yml", "--write", "--service", "nobody", cwd=small.parent)
    assert done.returncode == 2
    assert "nobody" in done.stderr


def test_agents_in_the_file_exclude_those_in_an_override(small: Path) -> None:
    compose("inject", "compose.yml", "--write", cwd=small.parent)
    done = compose("inject", "compose.yml", cwd=small.parent)
    assert done.returncode == 2
    assert "eject" in done.stderr
    assert not small.with_name("compose.vertice.yml").exists()


def test_options_reach_the_agents(small: Path) -> None:
    words = (
        "--image",
        "shop/agent:2",
        "--registry",
        "http://a.example:1,http://b.example:2",
        "--forward",
        "10.0.0.2",
        "--zone",
        "shop.test",
    )
    compose("inject", "compose.yml", "--write", "--memory", "64M", "--cpus", "0.5", *words, cwd=small.parent)
    agent = services_of(small)["cart-agent"]
    assert agent["image"] == "shop/agent:2"
    assert agent["deploy"]["resources"]["limits"] == {"memory": "64M", "cpus": "0.5"}
    environment = agent["environment"]
    assert environment["REGISTRY_URL"] == "http://a.example:1,http://b.example:2"
    assert environment["AGENT_DNS_FORWARD"] == "10.0.0.2"
    assert environment["AGENT_DNS_ZONE"] == "shop.test"


def test_crlf_and_a_byte_order_mark_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    before = b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode()
    path.write_bytes(before)
    assert compose("inject", "compose.yml", "--write", cwd=tmp_path).returncode == 0
    after = path.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert after.count(b"\n") == after.count(b"\r\n") > before.count(b"\n")
    compose("eject", "compose.yml", "--write", cwd=tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("action", ["inject", "eject", "rewrite"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file|no such file"),
        (b"services: {a: \xff}", "not UTF-8"),
        (b"services: [1", "not YAML"),
        (b"", "empty|no agents"),
        (b"- 1\n", "not a compose file|no `services`"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_exit_code_2(
    action: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "compose.yml").write_bytes(content)
    done = compose(action, "compose.yml", "--write", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert any(part in done.stderr for part in reason.split("|")), done.stderr
    assert (tmp_path / "compose.yml").exists() == (content is not None)


def test_the_host_recipe_reports_what_it_needs(small: Path) -> None:
    done = compose("inject", "compose.yml", "--recipe", "host", cwd=small.parent)
    assert done.returncode == 2
    assert "--host-address" in done.stderr


def test_a_full_disk_leaves_the_file_unchanged(small: Path) -> None:
    """The kernel refuses the write: files of this process may not be larger than the original."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(SMALL)}, {len(SMALL)}));"
        "from cli.main import main; sys.exit(main(['compose', 'inject', 'compose.yml', '--write']))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=small.parent,
        env={**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing was written" in done.stderr
    assert small.read_text() == SMALL
    assert [path.name for path in small.parent.iterdir()] == ["compose.yml"]


@pytest.mark.parametrize("recipe", ["netns", "beside", "host"])
def test_the_audit_of_a_fleet_is_the_same_with_agents(recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    shutil.copy(fleet("example"), path)
    before = json.loads(compose("audit", "compose.yml", "--format", "json", cwd=tmp_path).stdout)
    compose("inject", "compose.yml", "--write", *recipe_words(recipe), cwd=tmp_path)
    assert path.read_text() != fleet("example").read_text()
    after = json.loads(compose("audit", "compose.yml", "--format", "json", cwd=tmp_path).stdout)
    assert after["counts"] == before["counts"]
    said = [[(f["code"], f["service"], f["variable"], f["right"]) for f in d["findings"]] for d in (before, after)]
    assert said[0] == said[1]


# -- rewrite


def test_rewrite_requires_agents(small: Path) -> None:
    done = compose("rewrite", "compose.yml", cwd=small.parent)
    assert done.returncode == 2
    assert "inject" in done.stderr


def test_rewrite_previews_and_applies_its_changes_with_agents_in_an_override(small: Path) -> None:
    would = compose("rewrite", "compose.yml", "--recipe", "netns", cwd=small.parent)
    assert "+    environment: [CART_URL=http://cart.vertice.internal:8010]" in would.stdout
    assert small.read_text() == SMALL
    compose("inject", "compose.yml", cwd=small.parent)
    assert compose("rewrite", "compose.yml", cwd=small.parent).stdout == would.stdout
    done = compose("rewrite", "compose.yml", "--write", cwd=small.parent)
    assert done.returncode == 0
    assert "(cart listens on 8010: `ports` in line 5 maps 9010 of the host to 8010)" in done.stderr
    after = SMALL.replace("http://cart:9010", "http://cart.vertice.internal:8010")
    assert small.read_text() == after
    assert compose("rewrite", "compose.yml", "--write", cwd=small.parent).returncode == 0
    assert small.read_text() == after


def test_rewrite_is_unsafe_with_the_recipe_beside(small: Path) -> None:
    done = compose("rewrite", "compose.yml", "--recipe", "beside", cwd=small.parent)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "shop does not resolve names through an agent" in done.stderr


def test_rewrite_writes_another_file_only_if_it_does_not_exist(small: Path) -> None:
    words = ("rewrite", "compose.yml", "--recipe", "netns", "--output", "other.yml")
    assert compose(*words, cwd=small.parent).returncode == 0
    assert "cart.vertice.internal" in small.with_name("other.yml").read_text()
    assert small.read_text() == SMALL
    small.with_name("other.yml").write_text("mine")
    assert compose(*words, cwd=small.parent).returncode == 2
    assert small.with_name("other.yml").read_text() == "mine"


def test_eject_of_a_rewritten_file_names_what_leads_nowhere_and_undo_turns_it_back(small: Path) -> None:
    compose("inject", "compose.yml", "--write", "--zone", "shop.test", cwd=small.parent)
    assert compose("rewrite", "compose.yml", "--write", "--zone", "other.test", cwd=small.parent).returncode == 2
    rewriting = compose("rewrite", "compose.yml", "--write", cwd=small.parent)
    assert rewriting.returncode == 0
    assert "note: requests over HTTP carry the new name as their Host" in rewriting.stderr
    assert "http://cart.shop.test:8010" in small.read_text()
    audited = json.loads(compose("audit", "compose.yml", "--format", "json", cwd=small.parent).stdout)
    assert [(e["from"], e["to"]) for e in audited["graph"]["edges"]] == [("shop", "cart")]
    shown = compose("eject", "compose.yml", cwd=small.parent)
    assert shown.returncode == 1
    ejected = compose("eject", "compose.yml", "--write", cwd=small.parent)
    assert ejected.returncode == 1
    assert "shop: CART_URL: http://cart.shop.test:8010 leads nowhere without agents" in ejected.stderr
    assert "rewrite compose.yml --undo --zone shop.test --write" in ejected.stderr
    undone = compose("rewrite", "compose.yml", "--undo", "--zone", "shop.test", "--write", cwd=small.parent)
    assert (undone.returncode, "1 name turned back" in undone.stderr) == (0, True)
    assert small.read_text() == SMALL.replace("cart:9010", "cart:8010")


def test_undo_before_eject_leaves_the_file_without_a_trace(small: Path) -> None:
    small.write_text(SMALL.replace("cart:9010", "cart:8010"))
    before = small.read_bytes()
    for words in (("inject",), ("rewrite",), ("rewrite", "--undo"), ("eject",)):
        assert compose(words[0], "compose.yml", *words[1:], "--write", cwd=small.parent).returncode == 0
    assert small.read_bytes() == before


@pytest.mark.parametrize("name", FLEETS)
def test_the_plan_of_a_fleet_is_the_same_after_rewrite_and_after_undo(name: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    shutil.copy(fleet(name), path)

    def seen() -> tuple[object, object]:
        audited = json.loads(compose("audit", "compose.yml", "--format", "json", cwd=tmp_path).stdout)
        plan = command("migrate", "plan", "compose.yml", "--format", "json", cwd=tmp_path)
        return audited["graph"], json.loads(plan.stdout)

    before = seen()
    compose("rewrite", "compose.yml", "--recipe", "netns", "--write", cwd=tmp_path)
    assert ".vertice.internal:" in path.read_text()
    assert seen() == before
    assert compose("rewrite", "compose.yml", "--undo", "--write", cwd=tmp_path).returncode == 0
    assert ".vertice.internal" not in path.read_text()
    assert seen() == before


@pytest.mark.parametrize("name", FLEETS)
def test_rewrite_of_a_fleet_changes_only_addresses(name: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    shutil.copy(fleet(name), path)
    before = path.read_text()
    compose("rewrite", "compose.yml", "--recipe", "netns", "--write", cwd=tmp_path)
    old, new = before.splitlines(), path.read_text().splitlines()
    assert len(old) == len(new)
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert changed
    assert all(".vertice.internal:" in b and b.split("://")[0] == a.split("://")[0] for a, b in changed)
    assert yaml.safe_load(before)["services"].keys() == services_of(path).keys()


@pytest.mark.parametrize("action", ["inject", "eject", "rewrite"])
def test_help_has_examples_and_exit_codes(action: str, tmp_path: Path) -> None:
    text = compose(action, "--help", cwd=tmp_path).stdout
    assert f"vertice compose {action} compose.yml" in text
    assert "exit codes" in text
