"""`vertice compose audit` and `vertice migrate` as programs: on real files, and against a real registry.

A second judge, as simple as possible, independently decides which HTTP addresses are wrong: both must agree on every
address.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import command
from tests.fleets import EXAMPLE, fleet
from tests.programs import VERTICE, accepts, free_port, running, wait_until

SMALL = """
services:
  shop: {ports: ["8000:80"], environment: [CART_URL=http://cart:9010]}
  cart: {ports: ["9010:8010"], healthcheck: {test: "curl http://localhost:8010/ok"}}
"""


def audited(path: Path) -> Any:
    done = command("compose", "audit", path, "--format", "json")
    assert done.stderr == ""
    return json.loads(done.stdout)


# -- the second judge


def second_judge(path: Path) -> tuple[set[tuple[str, str, str, int]], dict[tuple[str, str, str, int], int]]:
    """Return every http:// address with a host and a port in an environment, and the wrong ones with the right port.

    It only knows lists of `published:container` ports and of NAME=value, `${NAME:-default}`.
    """
    services = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["services"]
    addresses: set[tuple[str, str, str, int]] = set()
    wrong: dict[tuple[str, str, str, int], int] = {}
    for consumer, service in services.items():
        environment = service.get("environment") or []
        if isinstance(environment, dict):
            environment = [f"{name}={value}" for name, value in environment.items()]
        for line in environment:
            name, _, value = line.partition("=")
            value = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value)
            match = re.fullmatch(r"http://([\w.-]+):(\d+)(/.*)?", value)
            if match is None:
                continue
            host, port = match[1], int(match[2])
            address = (consumer, name, host, port)
            addresses.add(address)
            if host not in services:
                continue
            mapping: dict[int, int] = {}
            for text in services[host].get("ports") or []:
                published, _, container = re.sub(r"\$\{\w+:-(\d+)\}", r"\1", str(text)).rpartition(":")
                mapping[int(container.partition("-")[0])] = int(published.rpartition(":")[2].partition("-")[0] or 0)
            if port in mapping or not mapping:
                continue
            behind = [inner for inner, outer in mapping.items() if outer == port]
            wrong[address] = behind[0] if behind else next(iter(mapping))
    return addresses, wrong


def test_the_audit_and_a_second_judge_find_the_same_addresses_and_ports() -> None:
    path = fleet("real")
    found = audited(path)
    addresses, wrong = second_judge(path)
    http_addresses = [a for a in found["addresses"] if a["scheme"] == "http"]
    assert {(a["service"], a["variable"], a["host"], a["port"]) for a in http_addresses} == addresses
    codes = ("published-port", "wrong-port", "port-out-of-range")
    named = {
        (a["service"], a["variable"], a["host"], a["port"]): a["right_port"]
        for a in http_addresses
        if a["code"] in codes
    }
    assert named == wrong
    assert len(wrong) > len(addresses) / 2
    by_place = {(f["service"], f["line"]): f for f in found["findings"]}
    lines = path.read_text(encoding="utf-8").splitlines()
    for a in http_addresses:
        assert a["address"] in lines[a["line"] - 1]
        if a["code"] in codes:
            assert by_place[a["service"], a["line"]]["right"] == f"http://{a['host']}:{a['right_port']}"
            assert by_place[a["service"], a["line"]]["evidence"] == a["evidence"]


def test_the_evidence_against_each_wrong_address_of_the_real_fleet_is_in_the_file() -> None:
    path = fleet("real")
    lines = path.read_text(encoding="utf-8").splitlines()
    wrong = [
        a for a in audited(path)["addresses"] if a["code"] in ("published-port", "wrong-port", "port-out-of-range")
    ]
    assert wrong
    for a in wrong:
        evidence = a["evidence"]
        if a["code"] == "port-out-of-range":
            assert evidence == f"there is no port {a['port']}"
            continue
        found = re.search(r"(?:maps (\d+) of the host to (\d+)|health check asks (\d+))", evidence)
        line = re.search(r"in line (\d+)", evidence)
        assert found is not None
        assert line is not None
        here = "\n".join(lines[int(line[1]) - 1 : int(line[1]) + 8])
        if a["code"] == "published-port":
            assert f"{found[1]}:{found[2]}" in here
            assert (int(found[1]), int(found[2])) == (a["port"], a["right_port"])
        else:
            assert f"localhost:{found[3]}" in here
            assert int(found[3]) != a["port"]


def test_the_counts_of_the_real_fleet_match_those_made_by_hand() -> None:
    path = fleet("real")
    if len(path.read_text(encoding="utf-8").splitlines()) != 2499:
        pytest.skip(f"{path} is another fleet than the one whose addresses were counted")
    found = audited(path)
    counts = found["counts"]
    assert (counts["services"], counts["addresses"], counts["http_addresses"]) == (111, 191, 160)
    assert (counts["wrong_addresses"], counts["wrong_http_addresses"]) == (122, 122)
    assert sum(a["evidence"] is not None for a in found["addresses"]) == 122
    codes = [f["code"] for f in found["findings"]]
    assert {code: codes.count(code) for code in codes} == {
        "published-port": 86,
        "wrong-port": 34,
        "port-out-of-range": 2,
        "shared-host-port": 3,
        "health-port": 14,
        "localhost": 2,
        "no-port": 2,
        "by-the-host": 2,
    }


def test_the_mistakes_of_the_example_are_found() -> None:
    found = audited(EXAMPLE)
    said = [(f["code"], f["service"], f["right"]) for f in found["findings"] if f["code"] != "no-healthcheck"]
    assert said == [
        ("port-out-of-range", "storefront", "http://route-planner:8080"),
        ("published-port", "storefront", "http://courier_dispatch:8044"),
        ("wrong-port", "basket-service", "http://stock-keeper:8055"),
        ("replicas-host-port", "stock-keeper", None),
        ("health-port", "stock-keeper", "8055"),
        ("dns-clash", "customer-mail", None),
        ("mapped-name", "Pick.List", "pick-list"),
    ]


# -- the commands


def test_exit_codes_and_formats(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text(SMALL)
    (tmp_path / "cure.yml").write_text('services: {shop: {environment: ["CART_URL=http://cart:8010"]}}')
    (tmp_path / ".env").write_text("PORT=9010\n")
    (tmp_path / "env.yml").write_text(SMALL.replace("cart:9010]", "'cart:${PORT}']").replace("CART_URL=", "CART_ADDR="))
    bad = command("compose", "audit", "bad.yml", cwd=tmp_path)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert "bad.yml:3: error: shop CART_URL: http://cart:9010: 9010 is published on the host" in bad.stdout
    cured = command("compose", "audit", "bad.yml", "cure.yml", cwd=tmp_path)
    assert (cured.returncode, cured.stderr) == (0, "")
    dot = command("compose", "audit", "bad.yml", "--format", "dot", cwd=tmp_path)
    assert dot.stdout.startswith("digraph fleet {")
    assert '"shop" -> "cart" [color=red];' in dot.stdout
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=dot.stdout, text=True, check=True, timeout=30, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- a\n", ":1: it is not a compose file: it is a list, not a map (example: services: {web: {image: web}})"),
        ("services: {a: {extends: a}}\n", ":1: `extends` goes in a circle: a -> a"),
        ("services:\n  a: {}\n  a: {}\n", ":3: 'a' is defined twice, first in line 2; Compose refuses that"),
        (None, ": No such file or directory"),
    ],
)
@pytest.mark.parametrize("words", [("compose", "audit"), ("migrate", "plan"), ("migrate", "status")])
def test_unusable_input_is_one_line_and_exit_code_two(
    words: tuple[str, ...], text: str | None, line: str, tmp_path: Path
) -> None:
    path = tmp_path / "compose.yml"
    if text is not None:
        path.write_text(text)
    done = command(*words, path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"vertice: {path}{line}\n")


def test_the_file_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(SMALL)
    before = path.stat().st_mtime_ns
    for words in (("compose", "audit"), ("migrate", "plan")):
        command(*words, path)
    assert (path.read_text(), path.stat().st_mtime_ns, len(list(tmp_path.iterdir()))) == (SMALL, before, 1)


@pytest.mark.parametrize("by", ["dependency", "category"])
def test_a_plan_of_the_real_fleet_has_every_service_once(by: str) -> None:
    done = command("migrate", "plan", fleet("real"), "--by", by, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    waves = json.loads(done.stdout)["waves"]
    names = [s["name"] for w in waves for s in w["services"]]
    assert len(names) == len(set(names)) == audited(fleet("real"))["counts"]["services"]
    assert (len(waves[0]["services"]), waves[0]["title"], waves[0]["radius"]) == (5, "pilot", 0)


# -- against a registry


@contextlib.contextmanager
def registry(folder: Path, **settings: str) -> Iterator[str]:
    port = free_port()
    given = {"REGISTRY_AUTH": "off", "REGISTRY_WARMING": "0", **settings}
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], folder / "registry.log", given):
        wait_until(lambda: accepts(port), "the registry listens")
        yield f"http://127.0.0.1:{port}"


def call(url: str, method: str, path: str, body: object) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    said = response.read()
    connection.close()
    assert response.status < 300, said


def counts(url: str, path: Path) -> dict[str, int]:
    done = command("migrate", "status", path, "--registry", url, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, int] = json.loads(done.stdout)["counts"]
    return found


def test_the_status_follows_the_registrations(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(SMALL)
    with registry(tmp_path) as url:
        nothing = counts(url, path)
        assert (nothing["registered"], nothing["static_addresses"], nothing["may_go"]) == (0, 1, 0)
        call(url, "POST", "/register", {"service_name": "cart", "host": "10.0.0.7", "port": 8010})
        half = counts(url, path)
        assert (half["registered"], half["passing"], half["may_go"]) == (1, 1, 0)
        call(url, "POST", "/register", {"service_name": "shop", "host": "10.0.0.8", "port": 8080})
        assert counts(url, path)["may_go"] == 1
        before = audited(path)["graph"]["edges"]
        assert command("compose", "rewrite", path, "--recipe", "netns", "--write").returncode == 0
        rewritten = counts(url, path)
        assert (rewritten["static_addresses"], rewritten["may_go"]) == (0, 0)
        assert audited(path)["graph"]["edges"] == before
        path.write_text(SMALL)
        call(url, "PUT", "/status/cart/10.0.0.7:8010", {"status": "critical"})
        failing = counts(url, path)
        assert (failing["registered"], failing["passing"], failing["may_go"]) == (2, 1, 0)
        text = command("migrate", "status", path, REGISTRY_URL=url)
        assert "CART_URL=http://cart:9010: stays: cart is registered, none passing" in text.stdout
    gone = command("migrate", "status", path, "--registry", url)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr == (f"vertice: no answer from {url}: Connection refused; what is registered is not known\n")


def test_a_warming_registry_is_not_mistaken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(SMALL)
    with registry(tmp_path, REGISTRY_WARMING="60") as url:
        done = command("migrate", "status", path, "--registry", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not know yet which services exist; what is registered is not known" in done.stderr
