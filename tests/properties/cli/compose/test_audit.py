"""For any compose file, the audit is complete, printable and the same in all formats."""

from __future__ import annotations

import json

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.compose.audit import Audit, audit
from cli.compose.errors import ComposeError
from cli.compose.reader import project_of
from cli.compose.report import dot_of, json_of, text_of
from cli.compose.waves import By, plan_text, waves_of

scalars = st.none() | st.booleans() | st.integers(-10, 100_000) | st.text(max_size=12)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3)
)
names = st.sampled_from(["abc", "a_b", "a-b", "Abc", "localhost", 'x"y', "é"])
hosts = names | st.sampled_from(["host.docker.internal", "10.0.0.1", "a.b.c", "cont", ""])
addresses = st.builds(
    lambda scheme, user, host, port: f"{scheme}{user}{host}{port}",
    st.sampled_from(["", "http://", "redis://", "jdbc:postgresql://", "unix://"]),
    st.sampled_from(["", "u:s3cret@", "s3cret@"]),
    hosts,
    st.sampled_from(["", ":80", ":0", ":99999", ":8000/x", ":1,abc:2", ":${P:-80}"]),
)
variables = st.sampled_from(["A_URL", "B_HOST", "B_PORT", "C_HOSTS", "D", "PORT", "HOST"])
environments = st.dictionaries(variables, addresses | scalars, max_size=4)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "environment": environments | environments.map(lambda e: [f"{k}={v}" for k, v in e.items()]) | anything,
        "ports": st.lists(st.sampled_from(["80", "1:80", "0.0.0.0:1:80", "8000-8002", {"target": 80}]), max_size=2)
        | anything,
        "expose": st.lists(st.integers(0, 70000), max_size=2) | anything,
        "networks": st.dictionaries(st.sampled_from(["n", "m"]), st.just({"aliases": ["cont", "abc"]})) | anything,
        "network_mode": st.sampled_from(["host", "service:abc", "service:none", "container:cont", "none"]) | anything,
        "depends_on": st.lists(names, max_size=2) | anything,
        "links": st.lists(names.map(lambda n: f"{n}:db"), max_size=1) | anything,
        "extra_hosts": anything,
        "container_name": st.just("cont") | scalars,
        "healthcheck": st.just({"test": "curl http://localhost:81/x"}) | anything,
        "command": addresses | anything,
        "labels": anything,
        "scale": scalars,
        "profiles": anything,
        "env_file": anything,
        "extends": names | anything,
    },
)


@settings(max_examples=150)
@given(st.dictionaries(names, bodies | anything, min_size=1, max_size=5), st.sampled_from(By))
def test_any_fleet_is_audited_or_refused_in_one_line(services: dict[str, object], by: By) -> None:
    raw = yaml.safe_dump({"services": services, "networks": {"n": None, "m": {"external": True}}}).encode()
    try:
        found = audit(project_of([("", raw)]))
    except ComposeError as error:
        refused = error.hinted
    else:
        refused = ""
        is_whole(found, len(services), by)
    assert refused.isprintable()


def is_whole(found: Audit, count: int, by: By) -> None:
    """Assert that the reports agree with each other and can be printed."""
    reports = [*text_of(found), *dot_of(found), *plan_text(waves_of(found, by))]
    assert all(line.isprintable() for line in reports)
    shape = json.loads(json.dumps(json_of(found)))
    assert shape["counts"]["services"] == count
    assert len(shape["findings"]) == sum(shape["counts"][f"{s}s"] for s in ("error", "warning", "info"))
    judged = [f["code"] for f in shape["findings"] if f["variable"]]
    assert {a["code"] for a in shape["addresses"] if a["code"]} <= set(judged)
    edges = {(e["from"], e["to"]) for e in shape["graph"]["edges"]}
    assert all(
        (a["service"], a["target"]) in edges for a in shape["addresses"] if a["target"] and a["meant"] != "itself"
    )


@given(st.lists(addresses, min_size=1, max_size=3))
def test_no_password_of_an_address_is_shown(given_addresses: list[str]) -> None:
    service = {"environment": [f"A{n}_URL={a}" for n, a in enumerate(given_addresses) if "u:" in a]}
    found = audit(project_of([("", yaml.safe_dump({"services": {"abc": service}}).encode())]))
    assert "s3cret" not in json.dumps(json_of(found))
