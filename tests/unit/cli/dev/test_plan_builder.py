"""What is read from a compose file, and how its mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.compose.errors import ComposeError
from cli.compose.own_port import NO_PORT
from cli.compose.reader import MAX_FILE_BYTES, project_of
from cli.dev.guide import findings_text
from cli.dev.plan import MAX_INSTANCES, MAX_REPLICAS, Plan, PlannedService, Weight, instances
from cli.dev.plan_builder import listening_of, read_plan
from cli.dev.plan_builder import plan_of_bytes as plan_of
from tests.fleets import ROOT

EXAMPLE = ROOT / "compose" / "example.yml"


def one(body: str, name: str = "web_shop") -> Plan:
    """Return the plan of a file with one service, which has this body."""
    return plan_of(f"services:\n  {name}:\n    {body}\n".encode())


def said(plan: Plan, weight: Weight | None = None) -> list[str]:
    return [str(f) for f in plan.findings if weight is None or f.weight is weight]


# -- ports


@pytest.mark.parametrize(
    ("written", "port"),
    [
        ('["8000:8034"]', 8034),
        ("[8034]", 8034),
        ('["8034"]', 8034),
        ('["127.0.0.1:8000:8034/tcp"]', 8034),
        ('["127.0.0.1::8034"]', 8034),
        ('["[::1]:8000:8034"]', 8034),
        ('["9000-9002:8034-8036"]', 8034),
        ('["8034-8036"]', 8034),
        ('["${PORT:-8000}:${INNER:-8034}"]', 8034),
        ('["${INNER-8034}"]', 8034),
        ("[{target: 8034, published: '8000', protocol: tcp}]", 8034),
        ("[{target: 8034}]", 8034),
        ('["53:53/udp", "8000:8034"]', 8034),
        ("[{target: 53, protocol: udp}, {target: 8034}]", 8034),
        ("[5000:22]", 22),  # base 60 in YAML 1.1, but two ports to everyone who writes it
        ('["8000:80"]', 80),
        ("8034", 8034),
    ],
)
def test_every_form_of_a_port_is_read(written: str, port: int) -> None:
    plan = one(f"ports: {written}")
    assert plan.services == (PlannedService("web_shop", port),)
    assert plan.findings == ()


def test_the_first_port_counts_and_expose_only_without_ports() -> None:
    assert one('ports: ["1:8001", "2:8002"]').services[0].port == 8001
    assert one('{expose: ["8003"], ports: ["8002"]}').services[0].port == 8002
    assert one('expose: ["8003", 8004]').services[0].port == 8003


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("image: x", NO_PORT),
        ("ports: []", NO_PORT),
        ('ports: ["53:53/udp"]', "it has no TCP port"),
        ('ports: ["8000:80800"]', "a port is a number from 1 to 65535, and '8000:80800' is not"),
        ('ports: ["0"]', "a port is a number from 1 to 65535, and '0' is not"),
        ('ports: ["8000-99999"]', "a port is a number from 1 to 65535, and '8000-99999' is not"),
        ('ports: ["9000-8000"]', "'9000-8000' is a range that ends before it starts"),
        ('ports: ["http"]', "'http' is not a port"),
        ('ports: [""]', "'' is not a port"),
        ('ports: ["8000:${PORT}"]', "'8000:${PORT}' is a variable without a default"),
        ("ports: [{published: 8000}]", "a port in the long form needs a target, and this one has none"),
        ("ports: [[8000]]", "\"['8000']\" is not a port"),
        ('{ports: ["8000"], scale: 0}', "it asks for 0 replicas"),
    ],
)
def test_a_service_that_cannot_be_used_is_listed_with_the_reason_and_the_line(body: str, reason: str) -> None:
    plan = one(body)
    assert plan.services == ()
    assert said(plan, Weight.UNUSABLE) == [f"web_shop: {reason} (line 2)"]


def test_a_wrong_port_does_not_affect_a_good_one() -> None:
    plan = one('ports: ["99999", "8000"]')
    assert plan.services[0].port == 8000
    assert len(said(plan, Weight.DOUBTFUL)) == 1


def test_published_ports_are_kept_with_their_host_address() -> None:
    project = project_of([("", b'services: {web: {ports: ["8000:80", "127.0.0.1:81:82", "9000-9005:83"]}}')])
    assert listening_of(project.services["web"]).published == (":8000", "127.0.0.1:81")


# -- names


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 64, "a service name has at most"),
        ("...", "a service name holds a-z, 0-9, '_' and '-' only, not '.'"),
    ],
)
def test_a_name_that_breaks_a_rule_is_listed_with_the_rule(name: str, reason: str) -> None:
    plan = one("ports: ['8000']", name)
    assert plan.services == ()
    assert [line.startswith(f"{name}: {reason}") for line in said(plan)] == [True]


def test_the_first_of_two_names_that_are_equal_in_dns_counts() -> None:
    plan = plan_of(b"services:\n  a_b_c: {ports: ['1']}\n  a-b_c: {ports: ['2']}\n")
    assert [s.name for s in plan.services] == ["a_b_c"]
    assert said(plan) == ["a-b_c: in DNS it has the same name as 'a_b_c' ('_' is '-' there), which came first (line 3)"]


def test_a_duplicate_name_is_reported_once_and_the_last_one_counts() -> None:
    plan = plan_of(b"services:\n  abc: {ports: ['1']}\n  abc: {ports: ['2']}\n")
    assert plan.services == (PlannedService("abc", 2),)
    assert said(plan) == ["abc: it is in the file twice; the last one counts (line 3)"]


# -- replicas


@pytest.mark.parametrize(
    ("body", "replicas", "doubts"),
    [
        ("deploy: {replicas: 3}", 3, 0),
        ("scale: 2", 2, 0),
        ("{scale: 2, deploy: {replicas: 3}}", 3, 0),
        ("deploy: {mode: global}", 1, 0),
        ("deploy: nonsense", 1, 0),
        ("scale: many", 1, 1),
        ("scale: -1", 1, 1),
        ("scale: 500", MAX_REPLICAS, 1),
    ],
)
def test_replicas_are_read_and_bounded(body: str, replicas: int, doubts: int) -> None:
    inner = body[1:-1] if body.startswith("{") else body
    plan = one(f"{{ports: ['8000'], {inner}}}")
    assert plan.services[0].replicas == replicas
    assert len(said(plan, Weight.DOUBTFUL)) == doubts


def test_the_stand_ins_are_bounded_in_all() -> None:
    services = "".join(f"  svc{n}: {{ports: ['8000'], scale: {MAX_REPLICAS}}}\n" for n in range(30))
    plan = plan_of(f"services:\n{services}".encode())
    assert sum(s.replicas for s in plan.services) == MAX_INSTANCES
    assert len(said(plan, Weight.UNUSABLE)) == 30 - MAX_INSTANCES // MAX_REPLICAS


def test_every_replica_has_its_own_address_in_file_order() -> None:
    services = (PlannedService("abc", 8000, replicas=2), PlannedService("def", 8000, replicas=300))
    hosts = [i.host for i in instances(services)]
    assert hosts[:3] == ["127.77.0.1", "127.77.0.2", "127.77.0.3"]
    assert hosts[249:251] == ["127.77.0.250", "127.77.1.1"]
    assert len(set(hosts)) == 302
    assert instances(services)[2].address == "127.77.0.3:8000"


# -- health checks


@pytest.mark.parametrize(
    ("test", "path"),
    [
        ('["CMD", "curl", "-f", "http://localhost:8000/health"]', "/health"),
        ('["CMD", "wget", "--spider", "http://localhost:8000/-/healthy"]', "/-/healthy"),
        ("curl -fs 'http://127.0.0.1:8000/api/ready?deep=1' || exit 1", "/api/ready?deep=1"),
        ('["CMD", "curl", "http://localhost:8000"]', "/"),
        ('["CMD", "curl", "http://localhost:${PORT:-8000}/ok"]', "/ok"),
        ('["CMD", "redis-cli", "ping"]', "/health"),
        ("NONE", "/health"),
    ],
)
def test_the_health_path_is_that_of_the_services_own_check(test: str, path: str) -> None:
    assert one(f"{{ports: ['8000'], healthcheck: {{test: {_quoted(test)}}}}}").services[0].health_endpoint == path


def _quoted(test: str) -> str:
    return test if test.startswith("[") else '"' + test + '"'


def test_a_health_check_on_another_port_looks_wrong() -> None:
    plan = one('{ports: ["8000"], healthcheck: {test: curl http://localhost:8001/ok}}')
    assert plan.services[0].health_endpoint == "/ok"
    assert said(plan, Weight.DOUBTFUL) == ["web_shop: its health check uses port 8001, but it listens on 8000 (line 2)"]


def test_an_invalid_health_path_is_replaced() -> None:
    plan = one('{ports: ["8000"], healthcheck: {test: "curl http://localhost:8000/../etc/passwd"}}')
    assert plan.services[0].health_endpoint == "/health"
    assert "must not contain" in said(plan)[0]


# -- addresses


ADDRESSED = """
services:
  front:
    ports: ["80:8000"]
    environment: {environment}
  back_end:
    container_name: the-back
    hostname: rear
    build: {{dockerfile_inline: "FROM x\\nEXPOSE 8010"}}
    networks: {{net: {{aliases: [behind]}}, other: }}
    ports: ["9000:8010"]
networks: {{net: , other: }}
"""


def addressed(environment: str) -> list[str]:
    return [f"{f.weight.name} {f}" for f in plan_of(ADDRESSED.format(environment=environment).encode()).findings]


@pytest.mark.parametrize(
    "environment",
    [
        "[BACK=http://back_end:8010]",
        "{BACK: 'http://back_end:8010/path?x=1'}",
        "{BACK: 'http://back-end:8010'}",
        "[BACK=http://the-back:8010, B=http://rear:8010, C=behind:8010]",
        "{A: back_end:8010, B: 'db.example.org:99', C: 'http://db.example.org:99'}",
        "[SELF=http://localhost:1, HOST=http://host.docker.internal:2]",
        "[AT=12:30, IMAGE=repository:5, LIST=1:2:3]",
        "['VAR=${BACK:-http://back_end:8010}', 'V=http://${BACK}:1']",
        "{EMPTY: , N: 1}",
    ],
)
def test_a_working_address_is_no_finding(environment: str) -> None:
    assert addressed(environment) == []


@pytest.mark.parametrize(
    ("environment", "finding"),
    [
        (
            "[BACK=http://back_end:804040]",
            "UNUSABLE back_end:804040 in the environment of front: a port is a number from 1 to 65535",
        ),
        (
            "[BACK=back_end:70000]",
            "UNUSABLE back_end:70000 in the environment of front: a port is a number from 1 to 65535",
        ),
        (
            "[BACK=http://elsewhere.example:99999]",
            "UNUSABLE elsewhere.example:99999 in the environment of front: a port is a number from 1 to 65535",
        ),
        (
            "{BACK: 'http://back_end:9000'}",
            "DOUBTFUL back_end:9000 in the environment of front: it listens on 8010, and 9000 is the host's port",
        ),
        ("{BACK: 'http://back_end:80'}", "DOUBTFUL back_end:80 in the environment of front: it listens on 8010"),
        (
            "['BACK=${BACK:-http://back_end:80}']",
            "DOUBTFUL back_end:80 in the environment of front: it listens on 8010",
        ),
        (
            "{BACK: 'http://nobody:80'}",
            "DOUBTFUL nobody:80 in the environment of front: no service of the file has that name",
        ),
    ],
)
def test_a_dead_address_is_named(environment: str, finding: str) -> None:
    assert addressed(environment) == [finding]


def test_a_port_that_is_not_declared_is_wrong_only_with_evidence() -> None:
    path = ROOT / "tests" / "compose_cases" / "02-wrong-port-internal-listener.yml"
    assert [f for f in read_plan(path).findings if "environment of" in f.subject] == []
    own = "a_b: {build: ., ports: ['80'], healthcheck: {test: 'curl http://localhost:80/'}}"
    other = "c_d: {ports: ['1'], environment: [A=http://a_b:81, B=redis://a_b:81]}"
    assert said(plan_of(f"services: {{{own}, {other}}}".encode())) == [
        "a_b:81 in the environment of c_d: it listens on 80"
    ]


def test_an_address_used_by_many_is_named_once() -> None:
    body = 'ports: [8000], build: {dockerfile_inline: "FROM x\\nEXPOSE 8000"}, environment: [A=http://svc0:1]'
    users = "".join(f"  svc{n}: {{{body}}}\n" for n in range(5))
    assert said(plan_of(f"services:\n{users}".encode())) == [
        "svc0:1 in the environment of svc0, svc1, svc2 and 2 more: it listens on 8000"
    ]


def test_no_password_of_a_url_is_shown() -> None:
    found = " ".join(addressed("[DB=postgres://shop:s3cret@back_end:5432/orders]"))
    assert "back_end:5432" in found
    assert "s3cret" not in found


def test_two_services_that_publish_the_same_host_port_look_wrong() -> None:
    plan = plan_of(
        b"services:\n  abc: {ports: ['1:8000']}\n  def: {ports: ['1:8000']}\n  ghi: {ports: ['127.0.0.1:1:8000']}"
    )
    assert len(plan.services) == 3
    assert said(plan) == [
        "def: it publishes port 1 of the host, and so does abc; Docker can start only one of them (line 3)"
    ]


# -- the file as a whole


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", ": it is empty"),
        (b"# nothing\n", ": it is empty"),
        (b"- a\n- b\n", ":1: it is not a compose file: it is a list, not a map"),
        (b"hello", ":1: it is not a compose file: it is a text, not a map"),
        (b"version: 3\n", ": it has no `services`, so it is not a compose file"),
        (b"services: []\n", ": it has no `services`, so it is not a compose file"),
        (b"services:\n  a: [1\n  b: 2\n", ":3: it is not YAML: did not find expected ',' or ']'"),
        (b"services:\n\tabc: 1\n", ":2: it is not YAML: found character that cannot start any token"),
        (b"services:\n  a: \xff\n", ":2: it is not UTF-8 text"),
        (b"a: *nothing\n", ":1: it is not YAML: found undefined alias"),
        (b"? [a]\n: 1\n", ":1: it is not YAML: found unhashable key"),
        (b"a: 1\n--- 2\n", ":2: it is not a compose file: it is a text, not a map"),
    ],
)
def test_an_invalid_compose_file_is_one_line_with_the_position(raw: bytes, message: str) -> None:
    with pytest.raises(ComposeError) as error:
        plan_of(raw)
    assert str(error.value) == message


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"a: " + b"{a: " * 50_000, b"\x00", b"&a [*a, *a]"])
def test_hostile_yaml_is_refused_in_one_line(raw: bytes) -> None:
    with pytest.raises(ComposeError) as error:
        plan_of(raw)
    assert "\n" not in error.value.message


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComposeError, match=r"nothing\.yml: No such file"):
        read_plan(tmp_path / "nothing.yml")
    with pytest.raises(ComposeError, match="directory"):
        read_plan(tmp_path)
    large = tmp_path / "large.yml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ComposeError, match="too large"):
        read_plan(large)


def test_other_parts_of_compose_files_do_no_harm() -> None:
    plan = plan_of(
        b"""
x-base: &base {ports: ["8000"], restart: no}
include: [other.yml]
services:
  abc: {<<: *base, scale: 2}
  def: !override {ports: !reset ["8001"], image: !tag x}
  ghi:
  jkl: text
"""
    )
    assert plan.services == (PlannedService("abc", 8000, replicas=2),)
    assert said(plan) == [
        "jkl: the service is a text, not a map; Compose refuses that (line 8)",
        "include: other files are not followed; give each one separately (line 3)",
        "ghi: it is empty, so it has no port (line 7)",
        "jkl: it is empty, so it has no port (line 8)",
        "def: it has no port in `ports`, `expose`, PORT, its health check or its image (line 6)",
    ]


def test_the_example_fleet_has_one_mistake_of_each_kind() -> None:
    plan = read_plan(EXAMPLE)
    assert (plan.listed, len(plan.services), sum(s.replicas for s in plan.services)) == (14, 12, 15)
    assert [f.subject.partition(" ")[0] for f in plan.of_weight(Weight.UNUSABLE)] == [
        "customer-mail",
        "night_worker",
        "route-planner:808080",
    ]
    assert [f.subject.partition(" ")[0] for f in plan.of_weight(Weight.DOUBTFUL)] == [
        "stock-keeper",
        "courier_dispatch:8120",
        "stock-keeper:80",
    ]
    assert [str(f) for f in plan.of_weight(Weight.NOTED)] == [
        (
            "Pick.List: it is registered as pick-list: a service name is written in lower case "
            "(label vertice.name: another name) (line 102)"
        )
    ]
    assert not plan.is_clean


# -- other people's fleets


def test_the_environments_variables_count() -> None:
    path = ROOT / "tests" / "compose_cases" / "31-dev-ignores-environment.yml"
    assert read_plan(path, {"WEBPORT": "3000"}).services == (PlannedService("web", 3000),)
    assert said(read_plan(path)) == ["web: '${WEBPORT}:${WEBPORT}' is a variable without a default (line 3)"]


FLEET = """\
name: mall
services:
  db: {image: "postgres:16"}
  cache: {image: redis, command: redis-server --appendonly yes}
  api: {build: ./api, environment: {DB_URL: "postgres://db:5432/x", CACHE_URL: "redis://cache:6380"}}
  worker: {build: ./api, command: celery worker}
  Front: {build: {context: ., dockerfile_inline: "FROM nginx"}}
  seed: {image: postgres, restart: "no"}
  web: {image: acme/web, environment: {PORT: 8034}}
  checked: {image: acme/web, healthcheck: {test: "curl http://localhost:8035/ok"}}
"""


def test_a_service_without_a_declared_port_has_the_one_that_its_image_and_its_variables_tell(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(FLEET)
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "Dockerfile").write_text("FROM python\nEXPOSE 8000\n")
    plan = read_plan(tmp_path / "compose.yml")
    assert plan.services == (
        PlannedService("db-mall", 5432),
        PlannedService("cache", 6379),
        PlannedService("api", 8000),
        PlannedService("front", 80),
        PlannedService("web", 8034),
        PlannedService("checked", 8035, "/ok"),
    )
    assert {f.subject: f.reason for f in plan.of_weight(Weight.UNUSABLE)} == {
        "worker": NO_PORT,
        "seed": 'it is a job, as it seems: `restart: "no"`, and neither `ports` nor a health check',
    }
    assert plan.of_weight(Weight.DOUBTFUL) == ()
    notes = [f"{f.subject}: {f.reason}" for f in plan.of_weight(Weight.NOTED)]
    assert "cache: its port, 6379, comes from its image" in notes
    assert f"api: its port, 8000, comes from EXPOSE in {tmp_path}/api/Dockerfile" in notes
    assert any(note.startswith("db: it is registered as db-mall: ") for note in notes)


def test_what_is_worth_knowing_is_no_fault() -> None:
    plan = plan_of(b"services: {cache: {image: redis}}")
    assert plan.is_clean
    assert list(findings_text(plan)) == [
        "Worth knowing (1):",
        "  - cache: its port, 6379, comes from its image (line 1)",
    ]
