"""Any compose file leads to a plan that can be started, or to one clear line."""

from __future__ import annotations

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.compose.errors import ComposeError
from cli.dev.plan import MAX_INSTANCES, MAX_REPLICAS, Plan, Weight, instances
from cli.dev.plan_builder import plan_of_bytes as plan_of
from registry_core.domain.names import check_service_name, label_of
from registry_core.domain.registration import Rules, check_health_endpoint, check_port

scalars = st.none() | st.booleans() | st.integers(-10, 100_000) | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3)
)
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{2,8}", fullmatch=True) | st.text(max_size=8)
port_texts = st.sampled_from(
    ["8000", "80:8000", "127.0.0.1:1:2/tcp", "1-3", "53/udp", "99999", "${A}", "${A:-7}", "x", ":", "[::1]:1:2", ""]
)
ports = st.lists(port_texts | st.fixed_dictionaries({"target": scalars, "published": scalars}), max_size=3)
environments = st.lists(st.sampled_from(["A=http://abc:80", "B=http://abc:99999", "C", "=", "D=abc:0"])) | anything
bodies = st.fixed_dictionaries(
    {},
    optional={
        "ports": ports | anything,
        "expose": ports | anything,
        "scale": scalars,
        "deploy": anything,
        "healthcheck": st.fixed_dictionaries({"test": st.text(max_size=30) | anything}) | anything,
        "environment": environments,
        "networks": anything,
        "container_name": scalars,
    },
)


@settings(max_examples=60)
@given(st.dictionaries(names, bodies | anything, min_size=1, max_size=6))
@example({"abc": {"ports": ["1"]}, "a-c": {"ports": ["1"]}})
def test_every_service_is_planned_or_its_reason_is_given(services: dict[str, object]) -> None:
    raw = yaml.safe_dump({"services": services}).encode()
    try:
        plan = plan_of(raw)
    except ComposeError:
        assert any(not name.isprintable() for name in services)  # YAML itself has no such names
        return
    planned = {s.name for s in plan.services}
    refused = {f.subject for f in plan.of_weight(Weight.UNUSABLE)}
    renamed = {f.subject for f in plan.of_weight(Weight.NOTED) if f.reason.startswith("it is registered as ")}
    spelled = {str(name) for name in services}
    assert planned | refused | renamed >= {
        name for name in spelled if name.isascii() and name.isalpha() and name != "null"
    }
    assert not planned & refused
    assert not renamed & refused
    can_be_started(plan)


@settings(max_examples=60)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | anything.map(yaml.safe_dump).map(str.encode))
def test_no_bytes_lead_to_anything_but_a_plan_or_one_line(raw: bytes) -> None:
    try:
        plan = plan_of(raw)
    except ComposeError as error:
        message = error.message
    else:
        message = ""
        can_be_started(plan)
    assert "\n" not in message


def can_be_started(plan: Plan) -> None:
    """Assert that a plan holds only what the registry accepts."""
    for service in plan.services:
        check_service_name(service.name)
        check_port(service.port, Rules(min_port=1))
        check_health_endpoint(service.health_endpoint)
        assert 1 <= service.replicas <= MAX_REPLICAS
    assert len({label_of(s.name) for s in plan.services}) == len(plan.services)
    addresses = [i.address for i in instances(plan.services)]
    assert len(set(addresses)) == len(addresses) <= MAX_INSTANCES
    assert len(set(plan.findings)) == len(plan.findings)
    assert all("\n" not in str(finding) for finding in plan.findings)
