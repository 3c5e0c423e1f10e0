"""`vertice dev` on a fleet: ordinary programs find every usable service."""

from __future__ import annotations

import json
import re
from collections import Counter

from cli.dev.plan import Weight
from registry_core.domain.names import label_of
from tests.programs import find
from tests.scenarios.system import Fleet, listed, run, status_of


def test_every_service_is_found_by_dig_with_its_port_and_address(up: Fleet) -> None:
    records = up.system.srv(up.names)
    expected = Counter({(f"_{s.name}._tcp.vertice.internal.", s.port): s.replicas for s in up.services})
    assert Counter((r.owner, r.port) for r in records) == expected
    addresses = up.system.dig(*(f"{r.target} A" for r in records))
    assert len(addresses) == len(records)
    assert len({fields[4] for fields in addresses}) == len(records)
    assert all(fields[4].startswith("127.") for fields in addresses)


def test_both_spellings_of_a_name_are_one_service(up: Fleet) -> None:
    spellings = [[label_of(name), name.replace("-", "_"), name.upper()] for name in up.names]
    for spelling in range(3):
        records = up.system.dig(*(f"{names[spelling]}.vertice.internal A" for names in spellings), tcp=spelling == 1)
        owners = Counter(label_of(fields[0].partition(".")[0]) for fields in records)
        assert owners == Counter({label_of(s.name): s.replicas for s in up.services})


def test_every_service_is_found_over_http(up: Fleet) -> None:
    answers = [json.loads(line) for line in up.system.curl(f"/services/{name}" for name in up.names)]
    assert [(a["service_name"], a["port"], len(a["instances"])) for a in answers] == [
        (s.name, s.port, s.replicas) for s in up.services
    ]


def test_the_url_of_every_service_leads_to_its_health(up: Fleet) -> None:
    urls = up.system.curl(f"/resolve/{name}?format=url" for name in up.names)
    assert len(urls) == len(up.names)
    shown = run([find("curl"), "-sS", "--fail", *(f"{url}/health" for url in urls)])
    assert [json.loads(line)["service"] for line in shown.splitlines()] == up.names
    own = [f"{url}{s.health_endpoint}" for url, s in zip(urls, up.services, strict=True)]
    assert {status_of(url) for url in own} == {200}


def test_the_commands_find_what_dig_and_curl_find(up: Fleet) -> None:
    assert up.system.vertice("services", "-o", "names").stdout.split() == sorted(up.names)
    assert json.loads(up.system.vertice("services", "--json").stdout) == sorted(up.names)
    name = up.names[0]
    url = up.system.vertice("resolve", name).stdout.strip()
    assert status_of(f"{url}/health") == 200
    where = up.system.vertice("resolve", name, "--format", "hostport").stdout.strip()
    assert re.fullmatch(r"127\.[\d.]+:\d+", where)
    found = json.loads(up.system.vertice("resolve", label_of(name), "--json").stdout)
    assert (found["service_name"], found["port"]) == (name, up.services[0].port)


def test_unusable_services_are_listed_once_with_the_reason(up: Fleet) -> None:
    output = up.system.output
    unusable = listed(output, "Cannot be used")
    read = [f"- {f}" for f in up.plan.of_weight(Weight.UNUSABLE)]
    assert unusable[: len(read)] == read
    assert [line.partition(":")[0] for line in unusable[len(read) :]] == [f"- {name}" for name in up.refused]
    assert all("cannot listen on" in line for line in unusable[len(read) :])
    doubts = [f"- {f}" for f in up.plan.of_weight(Weight.DOUBTFUL)]
    assert listed(output, "Looks wrong")[:5] == doubts[:5]
    assert f"{up.plan.listed} services, of which {len(up.plan.services)} can be used" in output
    assert f"services {len(up.names)}/{len(up.names)}" in output


def test_the_suggested_commands_work_unchanged(up: Fleet) -> None:
    commands = [line.strip().partition("      #")[0] for line in up.system.output.splitlines() if line.startswith("  ")]
    for command in commands:
        if command.startswith(("dig ", "curl http", 'curl "$')):
            assert run(["/bin/sh", "-c", f"set -e; {command}"]).strip(), command
