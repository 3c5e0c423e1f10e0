"""`vertice compose inject`, `eject` and `rewrite` as programs: what they write, never do, and print.

Judges: the reader, podman-compose where it is installed, and a real fleet if there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.compose.inject import MADE
from cli.compose.reader import read_project
from cli.compose.registered_names import RegisteredNames
from cli.compose.sidecars import LABEL
from tests.commands import command
from tests.fleets import EXAMPLE, FLEETS, fleet
from tests.programs import VERTICE

pytestmark = pytest.mark.long

SHOP = b"""\
# A shop.
services:
  web_shop:   # the front
    ports: ["8000:80"]
    healthcheck: {test: [CMD, curl, 'http://localhost:80/ok']}
    environment: {CART_URL: 'http://cart:9010/a', AWAY_URL: 'http://away.example'}

  cart: {ports: ["9010:8010"]}
  cache: {image: "redis:7"  , expose: [6379]}
"""
HOST = ("--recipe", "host", "--host-address", "10.0.0.7")
RECIPES = pytest.mark.parametrize("recipe", [("--recipe", "netns"), ("--recipe", "beside"), HOST])


def vertice(*words: str | Path, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    if not before:
        return command("compose", *words)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REGISTRY_", "VERTICE_"))}
    return subprocess.run(
        [*before, *VERTICE, "compose", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**clean, "PYTHONPATH": str(EXAMPLE.parents[1])},
    )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yml"
    path.write_bytes(SHOP)
    return path


def override_of(path: Path) -> Path:
    return path.with_name("compose.vertice.yml")


def only(folder: Path, *names: str) -> bool:
    return {p.name for p in folder.iterdir()} == set(names)


# -- inject


@RECIPES
def test_the_override_file_is_written_and_stays_the_same_the_second_time(shop: Path, recipe: tuple[str, ...]) -> None:
    left = ("--service", "web_shop", "--service", "cart")  # the cache publishes no port of the host
    first = vertice("inject", shop, *recipe, *left)
    assert (first.returncode, first.stderr) == (0, "")
    override = override_of(shop)
    made = override.read_bytes()
    assert made.startswith(MADE.encode())
    assert shop.read_bytes() == SHOP
    changed_at = override.stat().st_mtime_ns
    second = vertice("inject", shop, *recipe, *left)
    assert "is up to date" in second.stdout
    assert (override.read_bytes(), override.stat().st_mtime_ns) == (made, changed_at)
    read_project([shop, override]).checked()


def test_an_override_file_of_another_recipe_is_replaced_and_a_foreign_one_never(shop: Path) -> None:
    override = override_of(shop)
    assert vertice("inject", shop).returncode == 0
    assert vertice("inject", shop, "--recipe", "beside").returncode == 0
    assert "network_mode" not in override.read_text()
    override.write_text("services: {mine: {image: x}}\n")
    done = vertice("inject", shop)
    assert done.returncode == 2
    assert "was not made by this command" in done.stderr
    assert override.read_text() == "services: {mine: {image: x}}\n"


def test_image_registry_and_the_files_settings_reach_the_agent(shop: Path) -> None:
    done = vertice(
        "inject",
        shop,
        "--image",
        "reg.example/agent:2",
        "--registry",
        "http://a.example:1,http://b.example:2",
        "--output",
        "-",
    )
    agents = yaml.safe_load(done.stdout)["services"]
    assert agents["web_shop-agent"]["image"] == "reg.example/agent:2"
    assert (
        agents["web_shop-agent"]["environment"]
        | {
            "SERVICE_NAME": "web_shop",
            "SERVICE_HOST": "web_shop",
            "SERVICE_PORT": "80",
            "SERVICE_HEALTH_ENDPOINT": "/ok",
            "SERVICE_PROTOCOL": "http",
            "AGENT_CHECK": "http",
            "REGISTRY_URL": "http://a.example:1,http://b.example:2",
        }
        == (agents["web_shop-agent"]["environment"])
    )
    assert agents["cache-agent"]["environment"]["AGENT_CHECK"] == "tcp"
    assert only(shop.parent, "compose.yml")


@RECIPES
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_an_in_place_inject_and_eject_restore_the_bytes(shop: Path, recipe: tuple[str, ...], ending: bytes) -> None:
    before = b"\xef\xbb\xbf" + SHOP.replace(b"\n", ending)[: -len(ending)]
    shop.write_bytes(before)
    shop.chmod(0o640)
    assert vertice("inject", shop, "--write", *recipe).returncode in (0, 1)
    after = shop.read_bytes()
    assert after != before
    assert vertice("inject", shop, "--write", *recipe).returncode in (0, 1)
    assert shop.read_bytes() == after
    assert vertice("eject", shop).stdout.startswith("---")
    assert shop.read_bytes() == after
    assert vertice("eject", shop, "--write").returncode == 0
    assert shop.read_bytes() == before
    assert shop.stat().st_mode & 0o777 == 0o640
    assert only(shop.parent, "compose.yml")


def test_agents_in_both_the_file_and_the_override_file_are_reported(shop: Path) -> None:
    assert vertice("inject", shop).returncode == 0
    said = vertice("inject", shop, "--write").stdout
    assert f"note: {override_of(shop)} exists as well" in said
    refused = vertice("inject", shop)
    assert refused.returncode == 2
    assert "it has agents already" in refused.stderr


def test_a_symbolic_link_is_followed_and_kept(shop: Path) -> None:
    link = shop.parent / "link.yml"
    link.symlink_to(shop.name)
    assert vertice("inject", link, "--write").returncode == 0
    assert link.is_symlink()
    assert b"web_shop-agent" in shop.read_bytes()


def test_a_service_left_out_is_named_with_exit_code_1(shop: Path) -> None:
    shop.write_bytes(SHOP + b"  night: {image: x}\n")
    done = vertice("inject", shop)
    assert done.returncode == 1
    assert "left out: night: it has no port" in done.stdout


@pytest.mark.parametrize("action", ["inject", "eject", "rewrite"])
@pytest.mark.parametrize("text", [b"services: [", b"\xff\xfe", b"just words", b"", b"services:\n  a: {}\n  a: {}\n"])
def test_an_invalid_compose_file_is_exit_code_2_and_unchanged(shop: Path, action: str, text: bytes) -> None:
    shop.write_bytes(text)
    more = ("--recipe", "netns") if action == "rewrite" else ()
    done = vertice(action, shop, "--write", *more)
    if action == "eject" and b"a: {}" in text:
        assert done.returncode == 0  # it contains nothing of ours
    else:
        assert done.returncode == 2
        assert done.stderr.startswith("vertice: ")
    assert "Traceback" not in done.stderr
    assert shop.read_bytes() == text


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="util-linux' prlimit is not installed")
def test_a_write_that_fails_half_way_leaves_only_the_old_file(shop: Path) -> None:
    done = vertice("inject", shop, "--write", before=("prlimit", "--fsize=200"))
    assert done.returncode == 1
    assert "File too large; nothing was written" in done.stderr
    assert shop.read_bytes() == SHOP
    assert only(shop.parent, "compose.yml")


def test_an_unwritable_folder_is_one_line(shop: Path) -> None:
    done = vertice("inject", shop, "--output", "/proc/vertice.yml")
    assert done.returncode == 1
    assert done.stderr.endswith("nothing was written\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("way", [("--write",), ()])
def test_a_registered_name_stays_when_the_project_is_called_otherwise(tmp_path: Path, way: tuple[str, ...]) -> None:
    path = tmp_path / "mall" / "compose.yml"
    path.parent.mkdir()
    path.write_text("services:\n  db: {image: postgres, expose: [5432]}\n")
    assert "it is registered as db-mall" in vertice("inject", path, *way).stdout
    moved = path.parent.rename(tmp_path / "other") / path.name
    before = (moved if way else override_of(moved)).read_bytes()
    assert "it is registered as db-mall" in vertice("inject", moved, *way).stdout
    assert (moved if way else override_of(moved)).read_bytes() == before
    assert vertice("eject", moved, "--write").returncode == 0
    if way:
        assert "it is registered as db-other" in vertice("inject", moved, *way).stdout


def test_a_registered_name_in_another_output_file_stays_and_is_turned_back(tmp_path: Path) -> None:
    path, output = tmp_path / "compose.yml", tmp_path / "agents.yml"
    text = (
        "name: mall\nservices:\n  db: {image: x, expose: [8000]}\n"
        "  web: {image: x, expose: [80], environment: {DB_URL: 'http://db:8000'}}\n"
    )
    path.write_text(text)
    assert "it is registered as db-mall" in vertice("inject", path, "--output", output).stdout
    assert vertice("rewrite", path, "--override", output, "--write").returncode == 0
    path.write_text(path.read_text().replace("name: mall", "name: shop"))
    assert "it is registered as db-mall" in vertice("inject", path, "--output", output).stdout
    output.rename(override_of(path))
    assert "web -> db\n" in vertice("audit", path).stdout
    assert vertice("rewrite", path, "--undo", "--write").returncode == 0
    assert path.read_text() == text.replace("name: mall", "name: shop")


def test_a_discovered_name_that_a_server_accepts_does_not_lead_nowhere_without_agents(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(
        "services:\n  web: {image: x, expose: [80], environment: {ALLOWED_HOSTS: 'web,web.vertice.internal'}}\n"
    )
    assert vertice("inject", path, "--write").returncode == 0
    done = vertice("eject", path, "--write")
    assert (done.returncode, done.stderr) == (0, "")


# -- rewrite


def test_rewrite_shows_a_diff_and_writes_it_with_write(shop: Path) -> None:
    dry = vertice("rewrite", shop, "--recipe", "netns")
    assert dry.returncode == 1
    assert shop.read_bytes() == SHOP
    assert "+    environment: {CART_URL: 'http://cart.vertice.internal:8010/a', " in dry.stdout
    assert "kept: web_shop: AWAY_URL: http://away.example: it is outside the file" in dry.stderr
    assert vertice("rewrite", shop).returncode == 2  # there are no agents
    assert vertice("inject", shop).returncode == 0
    assert vertice("rewrite", shop, "--write").returncode == 1
    after = shop.read_bytes()
    assert after == SHOP.replace(b"cart:9010", b"cart.vertice.internal:8010")
    again = vertice("rewrite", shop, "--write")
    assert ": 0 addresses replaced, 1 kept" in again.stderr
    assert shop.read_bytes() == after


def test_rewrite_writes_another_file_but_never_overwrites_one(shop: Path) -> None:
    other = shop.parent / "other.yml"
    done = vertice("rewrite", shop, "--recipe", "netns", "--to", other)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f"; {other} written\n")
    assert b"cart.vertice.internal:8010" in other.read_bytes()
    other.write_text("mine")
    assert vertice("rewrite", shop, "--recipe", "netns", "--output", other).returncode == 2
    shown = vertice("rewrite", shop, "--recipe", "netns", "--to", "-")
    assert "cart.vertice.internal:8010" in shown.stdout
    assert shown.stderr.endswith("; nothing was written\n")
    assert other.read_text() == "mine"
    assert shop.read_bytes() == SHOP


@pytest.mark.parametrize("zone", ["a b", "x:1", "", "-"])
def test_an_invalid_zone_is_refused(shop: Path, zone: str) -> None:
    done = vertice("rewrite", shop, "--recipe", "netns", "--zone", zone, "--write")
    assert done.returncode == 2
    assert shop.read_bytes() == SHOP


@pytest.mark.parametrize("action", ["inject", "eject", "rewrite"])
def test_help_has_examples_and_exit_codes(action: str) -> None:
    said = vertice(action, "--help").stdout
    assert f"vertice compose {action} compose.yml" in said
    assert "exit codes:" in said


# -- fleets


@RECIPES
@pytest.mark.parametrize("name", FLEETS)
def test_every_service_of_a_fleet_has_one_agent_or_a_reason(tmp_path: Path, name: str, recipe: tuple[str, ...]) -> None:
    path = tmp_path / "compose.yml"
    shutil.copyfile(fleet(name), path)
    before = path.read_bytes()
    project = read_project([path])
    services, names = project.services, RegisteredNames(project)
    done = vertice("inject", path, *recipe)
    left_out = {line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("left out: ")}
    after = read_project([path, override_of(path)]).services
    assert done.returncode == (1 if left_out else 0)
    if recipe is HOST:
        content = yaml.safe_load(override_of(path).read_text())["configs"]["vertice-agent"]["content"]
        told = Counter(line.split('"')[1] for line in content.splitlines() if line.startswith("name ="))
    else:
        told = Counter(s.env("SERVICE_NAME").value for s in after.values() if LABEL in s.labels)  # type: ignore[union-attr]  # each agent has one
    assert set(told) == {names.of(name).name for name in services.keys() - left_out}
    assert set(told.values()) == {1}
    print(f"{name}, {recipe[1]}: {len(services)} services, {len(told)} agents, {len(left_out)} left out")  # noqa: T201 - the counts
    override_of(path).unlink()
    assert vertice("inject", path, "--write", *recipe).returncode == done.returncode
    assert path.read_bytes() != before
    assert vertice("rewrite", path).returncode == 1
    assert vertice("eject", path, "--write").returncode == 0
    assert path.read_bytes() == before


@pytest.mark.timeout(150)  # podman-compose takes half a minute for 111 services, and longer next to other tests
@pytest.mark.skipif(shutil.which("podman-compose") is None, reason="podman-compose, a judge, is not installed")
@RECIPES
@pytest.mark.parametrize("name", FLEETS)
def test_podman_compose_reads_the_two_files_as_one_fleet(tmp_path: Path, name: str, recipe: tuple[str, ...]) -> None:
    path = tmp_path / "compose.yml"
    shutil.copyfile(fleet(name), path)
    vertice("inject", path, *recipe)
    done = subprocess.run(
        ["podman-compose", "-f", path, "-f", override_of(path), "config"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    if "no such option" in done.stderr or "Cannot connect" in done.stderr:
        pytest.skip(f"podman-compose cannot be asked here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr[-2000:]
    judged: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    ours = read_project([path, override_of(path)]).services
    assert judged.keys() == ours.keys()
    for agent, service in ours.items():
        if LABEL not in service.labels:
            continue
        environment = judged[agent]["environment"]
        assert {e.name: e.value for e in service.environment} == {k: str(v) for k, v in environment.items()}
        assert judged[agent]["cap_drop"] == ["ALL"]
        assert judged[agent].get("network_mode") == service.network_mode
