"""How a check is written in the file and in the environment, and the one line about an invalid one."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.checks.flapping import FlapLimits
from agent.checks.spec import CheckPace, CheckSpec, CommandCheck, GrpcCheck, HttpCheck, TcpCheck, Tls, TtlCheck
from agent.settings.checks import OPTIONS
from agent.settings.settings import read_agent_settings
from registry_core.errors import SettingsError
from tests.certificates import make_certificate
from tools.sources import ROOT

ONE = {"SERVICE_NAME": "billing", "SERVICE_HOST": "10.0.0.7", "SERVICE_PORT": "8034"}
SERVICE = '[[service]]\nname = "billing"\nhost = "10.0.0.7"\nport = 8034\n'


@pytest.fixture(scope="module")
def certificate_pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A certificate's file, and its text."""
    both, pem = make_certificate(tmp_path_factory.mktemp("certificate"))
    return both.with_name("certificate.pem"), pem


def of_file(tmp_path: Path, text: str, *, service: str = SERVICE, agent: str = "") -> tuple[CheckSpec, ...]:
    path = tmp_path / "agent.toml"
    path.write_text(f"{agent}\n{service}{text}", encoding="utf-8")
    return read_agent_settings({}, path).services[0].checks


def of_environment(**more: str) -> tuple[CheckSpec, ...]:
    return read_agent_settings({**ONE, **more}).services[0].checks


def test_the_default_check_requests_the_health_path_of_the_settings(tmp_path: Path) -> None:
    assert of_file(tmp_path, "") == (CheckSpec("http", HttpCheck()),)
    agent = "[agent]\ncheck_interval = 1\ncheck_rise = 3\ncheck_fall = 4\ncheck_initial_delay = '500ms'"
    pace = CheckPace(interval_s=1.0, timeout_s=1.0, rise=3, fall=4, initial_delay_s=0.5)
    assert of_file(tmp_path, 'health_endpoint = "/up"', agent=agent) == (
        CheckSpec("http", HttpCheck(path="/up"), pace),
    )


def test_an_https_service_is_checked_over_https_without_verification(tmp_path: Path) -> None:
    assert of_file(tmp_path, 'protocol = "https"')[0].how == HttpCheck(tls=Tls())


def test_every_option_of_an_http_check_is_read(tmp_path: Path, certificate_pem: tuple[Path, str]) -> None:
    path, pem = certificate_pem
    checks = of_file(
        tmp_path,
        f"""
        [service.check]
        kind = "http"
        name = "api"
        path = "/healthz?deep=1"
        method = "POST"
        status = ["2xx", 301, "401-403"]
        body = "ok|ready"
        headers = {{ Host = "billing.example" }}
        tls_verify = true
        tls_ca_file = "{path}"
        tls_server_name = "billing.example"
        interval = "10s"
        timeout = 2.5
        rise = 1
        fall = 3
        jitter = 0.2
        initial_delay = "1m"
        flap_changes = 4
        flap_window = "5m"
        flap_hold = "30s"
        """,
    )
    how = HttpCheck(
        path="/healthz?deep=1",
        method="POST",
        statuses=((200, 299), (301, 301), (401, 403)),
        body="ok|ready",
        headers=(("Host", "billing.example"),),
        tls=Tls(verify=True, ca_pem=pem, server_name="billing.example"),
    )
    pace = CheckPace(
        interval_s=10.0,
        timeout_s=2.5,
        rise=1,
        fall=3,
        jitter=0.2,
        initial_delay_s=60.0,
        flaps=FlapLimits(changes=4, window_s=300.0, hold_s=30.0),
    )
    assert checks == (CheckSpec("api", how, pace),)


def test_other_kinds_are_read_and_a_service_may_have_several(tmp_path: Path) -> None:
    checks = of_file(
        tmp_path,
        """
        [[service.check]]
        kind = "tcp"
        [[service.check]]
        kind = "grpc"
        grpc_service = "billing.v1.Invoices"
        tls = true
        [[service.check]]
        kind = "command"
        command = ["/bin/check", "a b"]
        [[service.check]]
        kind = "command"
        name = "disk"
        command = "/bin/check 'a b'"
        [[service.check]]
        kind = "ttl"
        ttl = "90s"
        """,
    )
    assert [(check.name, check.how) for check in checks] == [
        ("tcp", TcpCheck()),
        ("grpc", GrpcCheck(service="billing.v1.Invoices", tls=Tls())),
        ("command", CommandCheck(("/bin/check", "a b"))),
        ("disk", CommandCheck(("/bin/check", "a b"))),
        ("ttl", TtlCheck(90.0)),
    ]


def test_a_check_may_be_just_its_kind(tmp_path: Path) -> None:
    assert of_file(tmp_path, 'check = "grpc"') == (CheckSpec("grpc", GrpcCheck()),)
    assert of_file(tmp_path, 'check = ["http", "tcp"]') == (
        CheckSpec("http", HttpCheck()),
        CheckSpec("tcp", TcpCheck()),
    )
    assert of_file(tmp_path, 'check = "none"') == ()


def test_the_environment_can_describe_the_checks_of_one_service(certificate_pem: tuple[Path, str]) -> None:
    path, pem = certificate_pem
    http = of_environment(AGENT_CHECK_PATH="/up", AGENT_CHECK_STATUS="200, 3xx", AGENT_CHECK_BODY="^ok$")
    assert http[0].how == HttpCheck(path="/up", statuses=((200, 200), (300, 399)), body="^ok$")
    assert of_environment(AGENT_CHECK_TLS_CA_FILE=str(path))[0].how == HttpCheck(tls=Tls(verify=True, ca_pem=pem))
    grpc = of_environment(AGENT_CHECK="grpc", AGENT_CHECK_GRPC_SERVICE="billing.v1.Invoices")
    assert grpc[0].how == GrpcCheck(service="billing.v1.Invoices")
    command = of_environment(AGENT_CHECK="command", AGENT_CHECK_COMMAND='/bin/check --name "a b"')
    assert command[0].how == CommandCheck(("/bin/check", "--name", "a b"))
    assert of_environment(AGENT_CHECK="ttl", AGENT_CHECK_TTL="5m")[0].how == TtlCheck(300.0)
    assert of_environment(AGENT_CHECK="ttl")[0].how == TtlCheck(30.0)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as error:
        of_file(tmp_path, text)
    line = str(error.value)
    assert "\n" not in line
    assert "(example: " in line
    return line.removeprefix(f"{tmp_path}/agent.toml: [[service]] 1 (billing): ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("check = 'ping'", "check: 'ping' cannot be used: a check is one of http, tcp, grpc, command, ttl"),
        ("check = {}", ""),
        ("check = {path = '/up'}", "check.kind: a check is one of "),
        ("check = {kind = 'none'}", "check: 'none'"),
        ("check = {kind = 'http', pth = '/up'}", "check.pth: there is no such option (did you mean path?)"),
        (
            "check = {kind = 'tcp', path = '/up'}",
            "check.path: it is an option of http checks, but this is one of kind tcp",
        ),
        ("check = {kind = 'ttl', interval = 3}", "check.interval: it is an option of command, grpc, http, tcp checks"),
        ("check = {kind = 'http', path = 'http://10.0.0.9/'}", "check.path: 'http://10.0.0.9/' cannot be used: "),
        ("check = {kind = 'http', path = '//10.0.0.9/'}", "check.path: '//10.0.0.9/' cannot be used: "),
        ("check = {kind = 'http', host = '10.0.0.9'}", "check.host: there is no such option"),
        ("check = {kind = 'http', method = 'DELETE'}", "check.method: 'DELETE'"),
        ("check = {kind = 'http', status = '99'}", "check.status: '99'"),
        (
            "check = {kind = 'http', status = '204-200'}",
            "check.status: '204-200' cannot be used: 204-200 is a reversed range",
        ),
        ("check = {kind = 'http', status = []}", "check.status: '[]'"),
        (
            "check = {kind = 'http', body = '(a'}",
            "check.body: '(a' cannot be used: it is not a regular expression: missing ): (a",
        ),
        ("check = {kind = 'http', method = 'HEAD', body = 'a'}", "check.body: 'a' cannot be used: the answer to HEAD"),
        ("check = {kind = 'http', headers = {'A B' = 'x'}}", "check.headers: "),
        ("check = {kind = 'http', headers = {A = \"x\\r\\nB: y\"}}", "check.headers: "),
        ("check = {kind = 'http', headers = {Content-Length = '5'}}", "check.headers: "),
        ("check = {kind = 'http', tls = 'maybe'}", "check.tls: 'maybe'"),
        ("check = {kind = 'http', tls = false, tls_verify = true}", "check.tls_verify: it needs TLS"),
        ("check = {kind = 'http', tls_ca_file = '/nowhere/ca.pem'}", "check.tls_ca_file: '/nowhere/ca.pem'"),
        ("check = {kind = 'http', tls_ca_file = '/etc/hostname'}", "check.tls_ca_file: '/etc/hostname'"),
        ("check = {kind = 'http', tls_server_name = 'a b'}", "check.tls_server_name: 'a b'"),
        ("check = {kind = 'grpc', grpc_service = 'é'}", "check.grpc_service: "),
        ("check = 'command'", "check.command: a command check needs a command"),
        ("check = {kind = 'command', command = []}", "check.command: '[]'"),
        ("check = {kind = 'command', command = [1]}", "check.command: '[1]'"),
        ("check = {kind = 'command', command = 'a \"b'}", "check.command: "),
        (
            "check = {kind = 'command', command = 'df / | grep 9'}",
            "check.command: 'df / | grep 9' cannot be used: it is not run by a shell",
        ),
        ("check = {kind = 'ttl', ttl = 0}", "check.ttl: 0 cannot be used: it must be above zero"),
        ("check = {kind = 'ttl', ttl = true}", "check.ttl: True"),
        ("check = {kind = 'tcp', timeout = 6}", "check.timeout: 6 cannot be used: a check may take at most 5 s"),
        (
            "check = {kind = 'tcp', timeout = 2, interval = 1}",
            "check.timeout: 2.0 cannot be used: a check must end bef",
        ),
        ("check = {kind = 'tcp', rise = 0}", "check.rise: 0"),
        ("check = {kind = 'tcp', jitter = 1}", "check.jitter: 1"),
        ("check = {kind = 'tcp', name = 'A'}", "check.name: 'A'"),
        ("check = ['tcp', 'tcp']", "check 2.name: 'tcp' cannot be used: two checks of one service have the same name"),
        ("check = ['tcp', 'ping']", "check 2: 'ping'"),
        ("check = ['tcp', 'none']", "check 2: 'none'"),
        (f"check = {['tcp'] * 9}", "check: 9 cannot be used: a service may have at most 8 checks"),
    ],
)
def test_an_invalid_check_is_one_line_with_its_name_and_an_example(tmp_path: Path, text: str, said: str) -> None:
    if not said:  # an empty table counts as none
        assert of_file(tmp_path, text) == (CheckSpec("http", HttpCheck()),)
        return
    assert refusal(tmp_path, text).startswith(said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"AGENT_CHECK_STATUS": "ok"}, "AGENT_CHECK_STATUS: 'ok' cannot be used: "),
        (
            {"AGENT_CHECK_BODY": "*"},
            "AGENT_CHECK_BODY: '*' cannot be used: it is not a regular expression: no argument for repetition",
        ),
        ({"AGENT_CHECK": "command"}, "AGENT_CHECK_COMMAND: a command check needs a command"),
        ({"AGENT_CHECK_COMMAND": "/bin/true"}, "AGENT_CHECK_COMMAND: it is an option of command checks, but this is"),
        ({"AGENT_CHECK": "none", "AGENT_CHECK_PATH": "/up"}, "AGENT_CHECK: 'none' cannot be used: "),
        ({"AGENT_CHECK_PTH": "/up"}, "AGENT_CHECK_PTH: there is no such setting (did you mean AGENT_CHECK_PATH?)"),
    ],
)
def test_an_invalid_check_in_the_environment_is_named_by_its_variable(more: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        of_environment(**more)
    assert str(error.value).startswith(said)


def test_a_check_of_an_unknown_service_is_refused() -> None:
    with pytest.raises(SettingsError, match="SERVICE_NAME: it is missing, but AGENT_CHECK_PATH is set"):
        read_agent_settings({"AGENT_CHECK_PATH": "/up"})


def test_the_documentation_lists_every_option() -> None:
    text = (ROOT / "docs" / "guide" / "checks.md").read_text(encoding="utf-8")
    assert [name for name in OPTIONS if f"| `{name}` |" not in text] == []


def test_the_examples_in_the_documentation_are_valid(tmp_path: Path, certificate_pem: tuple[Path, str]) -> None:
    text = (ROOT / "docs" / "guide" / "checks.md").read_text(encoding="utf-8")
    blocks = [block.split("```", 1)[0] for block in text.split("```toml\n")[1:]]
    assert len(blocks) >= 6
    for block in blocks:
        usable = block.replace("/etc/vertice/ca.pem", str(certificate_pem[0]))
        assert of_file(tmp_path, "", service=usable), block
