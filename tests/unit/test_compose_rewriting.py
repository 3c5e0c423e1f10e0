"""Which hard-coded addresses become names, which stay, and that nothing else of the file changes."""

from __future__ import annotations

import pytest

from agent.compose.model import Project
from agent.compose.reader import project_of
from agent.compose.rewriting import Rewriting, rewritten
from agent.compose.standing import Standing

ZONE = "vertice.internal"
FLEET = """\
services:
  front:
    image: example/front
    environment: {environment}
  ip_intel: {{ports: ["9034:8034"], container_name: the-intel, networks: {{default: {{aliases: [intel]}}}}}}
  several: {{expose: [8001, 9001]}}
  doubtful: {{expose: [8001], healthcheck: {{test: "curl http://localhost:8002/"}}}}
  on_80: {{expose: [80]}}
  silent: {{expose: [8005]}}
  none_at_all: {{image: x}}
  cache: {{image: "redis:7", expose: [6379]}}
"""
STANDING = Standing(
    {"front": 1, "ip_intel": 8034, "several": 8001, "doubtful": 8001, "on_80": 80, "none_at_all": 1, "cache": 6379},
    frozenset({"front"}),
)


def project_for(text: str, **files: str) -> Project:
    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path].encode()

    return project_of([("c.yml", text.encode())], {}, read)


def done(environment: str, standing: Standing = STANDING) -> Rewriting:
    text = FLEET.format(environment=environment)
    outcome = rewritten(text, project_for(text), standing, ZONE)
    again = rewritten(outcome.text, project_for(outcome.text), standing, ZONE)
    assert again.text == outcome.text
    assert again.changes == ()
    before, after = text.split("\n"), outcome.text.split("\n")
    assert [a for n, a in enumerate(after) if n != 3] == [b for n, b in enumerate(before) if n != 3]
    return outcome


def environment_after(environment: str) -> str:
    return done(environment).text.split("\n")[3].removeprefix("    environment: ")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{A: http://ip_intel:8034/x?y=1}", "{A: http://ip-intel.vertice.internal:8034/x?y=1}"),
        ("[A=http://ip_intel:8034]", "[A=http://ip-intel.vertice.internal:8034]"),
        ("['A=http://ip_intel:8034']  # said", "['A=http://ip-intel.vertice.internal:8034']  # said"),
        ('{"A": "http://IP_Intel:8034/"}', '{"A": "http://ip-intel.vertice.internal:8034/"}'),
        ("{A: http://the-intel:8034}", "{A: http://ip-intel.vertice.internal:8034}"),
        ("{A: http://intel:8034}", "{A: http://ip-intel.vertice.internal:8034}"),
        ("{A: ip_intel:8034}", "{A: ip-intel.vertice.internal:8034}"),
        ("{A: grpc://ip_intel:8034}", "{A: grpc://ip-intel.vertice.internal:8034}"),
        ("{A: http://me:secret@ip_intel:8034/}", "{A: http://me:secret@ip-intel.vertice.internal:8034/}"),
        (
            "{A: 'http://ip_intel:8034,http://on_80/'}",
            "{A: 'http://ip-intel.vertice.internal:8034,http://on-80.vertice.internal:80/'}",
        ),
        # The port that is right, where it is certain.
        ("{A: http://ip_intel/x}", "{A: http://ip-intel.vertice.internal:8034/x}"),
        ("{A: http://ip_intel:9034}", "{A: http://ip-intel.vertice.internal:8034}"),
        ("{A: http://ip_intel:803400}", "{A: http://ip-intel.vertice.internal:8034}"),
        ("{A: ip_intel:803400}", "{A: ip-intel.vertice.internal:8034}"),
        ("{A: http://doubtful:8001}", "{A: http://doubtful.vertice.internal:8001}"),
        # Pairs.
        ("{A_HOST: ip_intel, A_PORT: 9034}", "{A_HOST: ip-intel.vertice.internal, A_PORT: 8034}"),
        ("[A_PORT=8034, A_HOST=ip_intel]", "[A_PORT=8034, A_HOST=ip-intel.vertice.internal]"),
    ],
)
def test_an_address_that_is_certain_becomes_a_name(before: str, after: str) -> None:
    assert environment_after(before) == after
    assert done(before).kept == ()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ("{A: http://several:8001}", "several listens on 8001 and 9001, and its name leads to its address alone"),
        ("{A: http://doubtful:8002}", "its ports say that doubtful listens on 8001, and its health check asks 8002"),
        ("{A: http://nobody:80}", "no service of the file has that name"),
        ("{A: http://silent:8005}", "silent has no agent that would register it"),
        ("{A: http://none_at_all:80}", "the file does not say on which port none_at_all listens"),
        ("{A: redis://cache:6379/0}", "cache is a database or a broker, whose clients go by its own names"),
        ("{A: https://ip_intel:8034}", "it is TLS, and the certificate has the name that stands there"),
        ("{A: foo://ip_intel:8034}", "what foo:// makes of a name is not known"),
        ("{A: '${B:-http://ip_intel:8034}'}", "it is put together from variables"),
        ("{A: 'http://ip_intel:${P:-8034}'}", "it is put together from variables"),
        ("{A_HOST: ip_intel}", "there is no A_PORT beside it, so its port stands elsewhere"),
        ("{A_HOST: ip_intel, A_PORT: '${P:-8034}'}", "it is put together from variables"),
        ('{A: "http://ip_intel:8034\\t"}', "it is written with escapes, or over several lines"),
    ],
)
def test_what_is_not_certain_stays_and_it_is_said_why(environment: str, reason: str) -> None:
    outcome = done(environment)
    assert outcome.changes == ()
    [kept] = outcome.kept
    assert kept.reason == reason
    assert kept.place.line == 4


@pytest.mark.parametrize(
    "environment",
    [
        "{A: http://example.org:80}",
        "{A: http://localhost:8034}",
        "{A: http://10.0.0.7:8034}",
        "{A: http://ip-intel.vertice.internal:8034}",
        "{A: 'ip_intel:7'}",
        "{A: ip_intel}",
        "{A: '12:30', B: , C: text}",
        "{A_HOST: example.org, A_PORT: 8034}",
    ],
)
def test_what_is_no_address_of_the_fleet_is_not_spoken_of(environment: str) -> None:
    outcome = done(environment)
    assert (outcome.changes, outcome.kept) == ((), ())


def test_who_has_no_agent_for_a_resolver_keeps_addresses() -> None:
    [kept] = done("{A: http://ip_intel:9034}", Standing(STANDING.ports)).kept
    assert kept.reason == "front does not ask an agent for names"
    assert kept.offered == "ip-intel.vertice.internal:8034"


def test_a_port_that_changes_is_said() -> None:
    [change] = done("{A: http://ip_intel:803400}").changes
    said = "ip_intel:803400 -> ip-intel.vertice.internal:8034 (there is no port 803400, and ip_intel has 8034 alone)"
    assert str(change) == f"front: A: {said}"


def test_with_the_hosts_agent_it_is_the_published_port() -> None:
    standing = Standing({"front": 1, "ip_intel": 9034}, frozenset({"front"}))
    for port in (8034, 9034):
        text = done(f"{{A: http://ip_intel:{port}}}", standing).text
        assert "A: http://ip-intel.vertice.internal:9034" in text


def test_what_an_env_file_says_is_named_and_not_touched() -> None:
    text = "services:\n  front: {env_file: a.env}\n  ip_intel: {expose: [8034]}\n"
    outcome = rewritten(text, project_for(text, **{"a.env": "A=http://ip_intel:8034\n"}), STANDING, ZONE)
    assert outcome.text == text
    assert [k.reason for k in outcome.kept] == ["A stands in a.env, which is not touched"]


SHARED = """\
x-env: &env
  A: http://ip_intel:8034
services:
  front: {environment: *env}
  other: {environment: {<<: *env, B: x}}
  ip_intel: {expose: [8034]}
"""


def test_what_several_share_changes_when_it_is_safe_for_all_of_them() -> None:
    both = Standing({"ip_intel": 8034}, frozenset({"front", "other"}))
    outcome = rewritten(SHARED, project_for(SHARED), both, ZONE)
    assert outcome.text == SHARED.replace("http://ip_intel:", "http://ip-intel.vertice.internal:")
    assert [c.service for c in outcome.changes] == ["front", "other"]
    one = rewritten(SHARED, project_for(SHARED), STANDING, ZONE)
    assert one.text == SHARED
    assert "other shares what is written there, and for it that is not safe" in [k.reason for k in one.kept]


def test_no_password_is_shown() -> None:
    outcome = done("{A: http://me:s3cret@ip_intel:8034, B: http://me:s3cret@several:8001}")
    assert outcome.changes
    assert outcome.kept
    assert "s3cret" not in " ".join(map(str, (*outcome.changes, *outcome.kept)))
