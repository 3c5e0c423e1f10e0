"""The agent's settings: what the environment and the file may contain, and the one line about invalid ones."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.checks.spec import CheckKind
from agent.settings.file import file_key
from agent.settings.settings import AgentSettings, read_agent_settings
from agent.settings.table import REMOVED, TABLE
from dns.name_limits import fits
from dns.record_data import name_of
from registry_core.domain.records import Protocol
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import SettingsError
from registry_core.security.signing_keys import SHARED
from registry_core.settings import Listen

ONE = {"SERVICE_NAME": "osint_service", "SERVICE_HOST": "10.0.0.7", "SERVICE_PORT": "8034"}


def refusal(environment: dict[str, str], config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as error:
        read_agent_settings(environment, config)
    line = str(error.value)
    assert "\n" not in line
    return line


def token_in(settings: AgentSettings) -> str:
    assert settings.keys.default is not None
    assert settings.keys.default.id == SHARED
    return settings.keys.default.secret


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_settings_the_agent_registers_nothing() -> None:
    assert read_agent_settings({"PATH": "/bin", "REGISTRY_STORE": "memory:"}) == AgentSettings()


def test_the_names_that_the_fleet_uses_today_are_read() -> None:
    settings = read_agent_settings(
        {
            **ONE,
            "SERVICE_HEALTH_ENDPOINT": "/healthz",
            "REGISTRY_URL": "http://a:8888/, http://b:8888",
            "HEARTBEAT_INTERVAL": "10",
            "INITIAL_WAIT_TIMEOUT": "5",
            "VERTICE_REGISTRY_TOKEN": "s3cret",
        }
    )
    assert settings.registry_urls == ("http://a:8888", "http://b:8888")
    assert (settings.heartbeat_s, settings.initial_wait_s, token_in(settings)) == (10.0, 5.0, "s3cret")
    claim = settings.services[0].claim
    assert (claim.service_name, claim.host, claim.port) == ("osint_service", "10.0.0.7", 8034)
    assert (claim.instance_id, claim.health_endpoint) == ("10.0.0.7:8034", "/healthz")


def test_every_other_setting_of_the_service_is_read() -> None:
    settings = read_agent_settings(
        {
            **ONE,
            "SERVICE_HOST": "2001:DB8::7",
            "SERVICE_TAGS": "blue, canary",
            "SERVICE_VERSION": "1.4.2",
            "SERVICE_WEIGHT": "10",
            "SERVICE_PROTOCOL": "grpc",
            "SERVICE_METADATA": '{"team": "osint"}',
            "AGENT_ZONE": "eu-1a",
            "AGENT_WHEN_NONE_PASS": "none",
            "AGENT_DNS_LISTEN": ":53",
            "AGENT_DNS_ZONE": "Fleet.Example.",
            "AGENT_DNS_ALLOW": "10.0.0.0/8, FD00::/8",
            "AGENT_DNS_RATE_LIMIT": "200",
        }
    )
    claim = settings.services[0].claim
    assert claim.instance_id == "[2001:db8::7]:8034"
    assert claim.tags == ("blue", "canary")
    assert (claim.version, claim.weight, claim.protocol) == ("1.4.2", 10, Protocol.GRPC)
    assert claim.metadata == {"team": "osint"}
    assert (claim.zone, settings.zone) == ("eu-1a", "eu-1a")
    assert settings.when_none_pass is WhenNonePass.NONE
    assert settings.dns_listen == Listen("::", 53)
    assert settings.dns_zone == "fleet.example"
    assert settings.dns_rate_limit == 200
    assert settings.dns_allow == ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "fd00::/8")


def test_the_default_host_is_the_agents() -> None:
    settings = read_agent_settings({"SERVICE_NAME": "osint_service", "SERVICE_PORT": "8034"})
    assert settings.services[0].claim.host == socket.gethostname().lower()


@pytest.mark.parametrize(
    ("protocol", "check", "kind"),
    [
        ("http", "", CheckKind.HTTP),
        ("https", "http", CheckKind.HTTP),
        ("grpc", "http", CheckKind.TCP),
        ("tcp", "", CheckKind.TCP),
        ("udp", "", CheckKind.NONE),
        ("http", "tcp", CheckKind.TCP),
        ("http", "none", CheckKind.NONE),
    ],
)
def test_the_default_check_suits_the_protocol(protocol: str, check: str, kind: CheckKind) -> None:
    settings = read_agent_settings({**ONE, "SERVICE_PROTOCOL": protocol, "AGENT_CHECK": check})
    assert [check.kind for check in settings.services[0].checks] == ([] if kind is CheckKind.NONE else [kind])


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AGENT_HTTP_LISTN": "x"}, "AGENT_HTTP_LISTN: there is no such setting (did you mean AGENT_HTTP_LISTEN?)"),
        ({"SERVICE_NAM": "x"}, "SERVICE_NAM: there is no such setting (did you mean SERVICE_NAME?)"),
        (
            {"HEARTBEAT_INTERVALL": "5"},
            "HEARTBEAT_INTERVALL: there is no such setting (did you mean HEARTBEAT_INTERVAL?)",
        ),
        (
            {"VERTICE_REGISTRY_TOKN": "x"},
            "VERTICE_REGISTRY_TOKN: there is no such setting (did you mean VERTICE_REGISTRY_T",
        ),
        ({"REGISTRY_URLS": "x"}, "REGISTRY_URLS: there is no such setting (did you mean REGISTRY_URL?)"),
        (
            {"REGISTRY_SECRET_FIL": "x"},
            "REGISTRY_SECRET_FIL: there is no such setting (did you mean REGISTRY_SECRET_FILE?)",
        ),
        ({"SERVICE_PORT": "8034"}, "SERVICE_NAME: it is missing"),
        ({"SERVICE_NAME": "osint"}, "SERVICE_PORT: "),
        ({**ONE, "SERVICE_NAME": "Osint"}, "SERVICE_NAME: 'Osint' cannot be used: "),
        ({**ONE, "SERVICE_PORT": "80340"}, "SERVICE_PORT: '80340'"),
        ({**ONE, "SERVICE_HOST": "0.0.0.0"}, "SERVICE_HOST: '0.0.0.0'"),
        ({**ONE, "SERVICE_HEALTH_ENDPOINT": "/../x"}, "SERVICE_HEALTH_ENDPOINT: '/../x'"),
        ({**ONE, "SERVICE_PROTOCOL": "ftp"}, "SERVICE_PROTOCOL: 'ftp'"),
        ({**ONE, "SERVICE_VERSION": "one"}, "SERVICE_VERSION: 'one'"),
        ({**ONE, "SERVICE_TAGS": "Blue"}, "SERVICE_TAGS: 'Blue'"),
        ({**ONE, "SERVICE_METADATA": "[]"}, "SERVICE_METADATA: "),
        ({**ONE, "SERVICE_METADATA": '{"a": {"b": "\\u0000"}}'}, "SERVICE_METADATA: "),
        ({**ONE, "SERVICE_INSTANCE_ID": "a b"}, "SERVICE_INSTANCE_ID: 'a b'"),
        ({"AGENT_CHECK_TIMEOUT": "6"}, "AGENT_CHECK_TIMEOUT: '6' cannot be used: a check may take at most 5 s"),
        ({"AGENT_CHECK": "ping"}, "AGENT_CHECK: 'ping'"),
        ({"AGENT_DNS_ZONE": "a..b"}, "AGENT_DNS_ZONE: "),
        ({"AGENT_DNS_ALLOW": "x"}, "AGENT_DNS_ALLOW: 'x' cannot be used: 'x' is not a network such as 10.0.0.0/8"),
        (
            {"AGENT_DNS_ALLOW": "10.0.0.1/8"},
            "AGENT_DNS_ALLOW: '10.0.0.1/8' cannot be used: '10.0.0.1/8' is an address within the network 10.0.0.0/8",
        ),
        ({"REGISTRY_URL": ","}, "REGISTRY_URL: "),
        (
            {**ONE, "AGENT_CHECK": "command", "AGENT_CHECK_COMMAND": 'a "b'},
            "AGENT_CHECK_COMMAND: 'a \"b' cannot be used: it cannot be split into words: a quotation or a backslash",
        ),
        ({**ONE, "AGENT_CHECK_BODY": "a("}, "AGENT_CHECK_BODY: 'a(' cannot be used: it is not a regular expression: "),
        ({"REGISTRY_URL": "registry:8888"}, "REGISTRY_URL: "),
        ({"AGENT_CONFIG": "/nowhere/agent.toml"}, "AGENT_CONFIG: /nowhere/agent.toml: cannot be read"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(environment: dict[str, str], said: str) -> None:
    assert refusal(environment).startswith(said)


def test_the_secret_is_never_shown_and_its_older_name_is_kept() -> None:
    secrets = {setting.name: setting.aliases for setting in TABLE if setting.secret}
    assert secrets == {
        "REGISTRY_SECRET": ("VERTICE_REGISTRY_TOKEN",),
        "REGISTRY_KEY": (),
        "AGENT_HTTP_TOKEN": (),
        "OTEL_EXPORTER_OTLP_HEADERS": (),
    }


def test_the_secret_has_one_name_for_registries_agents_and_commands(tmp_path: Path) -> None:
    assert token_in(read_agent_settings({"REGISTRY_SECRET": "s3cret"})) == "s3cret"
    assert token_in(read_agent_settings({"REGISTRY_SECRET": "new,old"})) == "new", "of two the first is sent"
    both = {"REGISTRY_SECRET": "s3cret", "VERTICE_REGISTRY_TOKEN": "s3cret"}
    assert token_in(read_agent_settings(both)) == "s3cret"
    rotating = {"REGISTRY_SECRET": "new,old", "VERTICE_REGISTRY_TOKEN": "old"}
    assert token_in(read_agent_settings(rotating)) == "old", "one of the registry's secrets was chosen for the agent"
    line = refusal({"REGISTRY_SECRET": "one", "VERTICE_REGISTRY_TOKEN": "other"})
    assert line == (
        "REGISTRY_SECRET and VERTICE_REGISTRY_TOKEN: they are names of one setting and differ; set only REGISTRY_SECRET"
    )
    path = written(tmp_path, '[agent]\nregistry_token = "of-file"\nregistry_secret = "another"\n')
    assert refusal({}, path).startswith(f"{path}: [agent] registry_secret and {path}: [agent] registry_token: they are")
    assert token_in(read_agent_settings({"REGISTRY_SECRET": "of-environment"}, path)) == "of-environment"


@pytest.mark.parametrize("name", ["REGISTRY_SECRET_FILE", "VERTICE_REGISTRY_TOKEN_FILE"])
def test_the_secret_may_stand_in_a_file_which_is_read_again(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\r\n", encoding="utf-8")
    settings = read_agent_settings({name: str(secret)})
    assert (token_in(settings), settings.files) == ("s3cret", (str(secret),))
    path = written(tmp_path, f'[agent]\n{file_key(name)} = "{secret}"\n')
    assert token_in(read_agent_settings({}, path)) == "s3cret"
    secret.write_text("sec ret", encoding="utf-8")
    line = refusal({name: str(secret)})
    assert line.startswith(f"{name}: the content of {secret} cannot be used: ")
    assert "sec ret" not in line
    assert (
        refusal({name: str(tmp_path / "none")})
        == f"{name}: {tmp_path / 'none'} cannot be read: No such file or directory"
    )


def test_names_of_other_programs_are_reported_and_do_not_end_the_agent() -> None:
    foreign = {"AGENT_NAME": "linux-7", "SERVICE_FOO": "1", "SERVICE_A_PORT": "80"}
    environment = {
        **ONE,
        **foreign,
        "REGISTRY_USER": "ci",
        "REGISTRY_LISTEN": ":8888",
        "VERTICE_TAG": "1",
        "DEVICE_NAME": "sda",
    }
    settings = read_agent_settings(environment)
    assert settings.unknown == tuple(sorted(foreign))
    assert settings.services[0].claim.service_name == "osint_service"


@pytest.mark.parametrize(
    ("word", "expected"), [("yes", True), ("TRUE", True), ("1", True), ("0", False), ("No", False)]
)
def test_a_boolean_is_read_as_people_write_it(word: str, expected: bool, tmp_path: Path) -> None:
    assert read_agent_settings({"AGENT_FOLLOW_NAMESPACE": word}).follow_namespace is expected
    path = written(tmp_path, f"[agent]\nfollow_namespace = {str(expected).lower()}\n")
    assert read_agent_settings({}, path).follow_namespace is expected


def test_two_spellings_of_one_service_are_refused(tmp_path: Path) -> None:
    other = SERVICE.replace("osint", "ip-intel").replace("8034", "8035")
    path = written(tmp_path, SERVICE.replace("osint", "ip_intel") + other)
    assert refusal({}, path).startswith(
        f"{path}: ip-intel: ip_intel is configured, too, and the two are one name in DNS"
    )
    path = written(tmp_path, other)
    assert "are one name in DNS" in refusal({**ONE, "SERVICE_NAME": "ip_intel"}, path)
    static = tmp_path / "static.toml"
    static.write_text('ip_intel = "10.0.0.5:8034"\nip-intel = "10.0.0.6:8034"\n', encoding="utf-8")
    assert refusal({"AGENT_STATIC_FILE": str(static)}).startswith(
        f"AGENT_STATIC_FILE: {static}: ip-intel: ip_intel is listed, too"
    )


@pytest.mark.parametrize("setting", ["AGENT_CONFIG", "AGENT_STATIC_FILE"])
def test_a_file_that_is_missing_is_reported_with_the_setting_that_names_it(setting: str) -> None:
    assert refusal({setting: "/nowhere.toml"}) == f"{setting}: /nowhere.toml: cannot be read: No such file or directory"
    assert refusal({}, Path("/nowhere.toml")).startswith("/nowhere.toml: cannot be read")


def test_a_file_has_settings_and_many_services(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [agent]
        http_listen = "127.0.0.1:9000"
        registry_url = ["http://a:8888", "http://b:8888"]
        registry_token = "s3cret"
        heartbeat_interval = 10
        check_interval = 0.5
        zone = "eu-1a"

        [[service]]
        name = "osint_service"
        host = "127.77.0.1"
        port = 8034
        tags = ["blue"]
        metadata = { team = "osint" }

        [[service]]
        name = "osint_service"
        host = "127.77.0.2"
        port = 8034
        protocol = "tcp"
        zone = "eu-1b"

        [[service]]
        name = "ip_intel"
        host = "127.77.0.3"
        port = 80
        check = "none"
        """,
    )
    settings = read_agent_settings({"AGENT_CONFIG": str(path), "HEARTBEAT_INTERVAL": "20", "AGENT_ZONE": " "})
    assert settings.http_listen == Listen("127.0.0.1", 9000)
    assert settings.registry_urls == ("http://a:8888", "http://b:8888")
    assert token_in(settings) == "s3cret"
    assert settings.services[0].checks[0].pace.interval_s == 0.5
    assert settings.heartbeat_s == 20.0, "the environment wins"
    assert [s.claim.instance_id for s in settings.services] == ["127.77.0.1:8034", "127.77.0.2:8034", "127.77.0.3:80"]
    assert [s.claim.zone for s in settings.services] == ["eu-1a", "eu-1b", "eu-1a"]
    assert [[c.kind for c in s.checks] for s in settings.services] == [[CheckKind.HTTP], [CheckKind.TCP], []]


def test_the_environment_may_add_a_service_to_those_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, '[[service]]\nname = "ip_intel"\nhost = "10.0.0.8"\nport = 8035\n')
    names = [s.claim.service_name for s in read_agent_settings(ONE, path).services]
    assert names == ["ip_intel", "osint_service"]


SERVICE = '[[service]]\nname = "osint"\nhost = "10.0.0.7"\nport = 8034\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agent", "it is not TOML: the end of the file: a bracket is not closed"),
        ("[[service]\nname = 1", "it is not TOML: line 1, column 10: a bracket is not closed"),
        ("[agent]\nzone = a", "it is not TOML: line 2, column 8: it is not a value; a text needs quotes"),
        ("[agent]\nzone = 'a'\nzone = 'b'\n", "it is not TOML: line 3, column 11: a key is set twice"),
        ("http_listen = ':1'", "http_listen: there are only [agent] and [[service]] tables; settings stand below"),
        ("[agent]\nAGENT_ZONE = 'a'", "[agent] AGENT_ZONE: there is no such key (did you mean zone?)"),
        ("[agent]\nheartbeat_intervall = 1", "[agent] heartbeat_intervall: there is no such key (did you mean hear"),
        ("[agent]\nname = 'linux-7'", "[agent] name: there is no such key"),
        ("[agents]", "[agents]: there are only [agent] and [[service]]"),
        ("agent = 1", "agent: it must be a table"),
        ("[service]\nname='x'", "service: each one must be written [[service]]"),
        ("service = [1]", "[[service]] 1: each one must be a table"),
        ("[agent]\nhttp_listn = ':1'", "[agent] http_listn: there is no such key (did you mean http_listen?)"),
        ("[agent]\nhttp_listen = true", "[agent] http_listen: "),
        ("[agent]\nhttp_listen = {a = 1}", "[agent] http_listen: "),
        ("[agent]\nconfig = 'x'", "[agent] config: there is no such key"),
        (SERVICE + "prot = 1", "[[service]] 1 (osint): prot: there is no such key (did you mean port?)"),
        (
            SERVICE.replace("8034", "'x'"),
            "[[service]] 1 (osint): port: 'x' cannot be used: it must be a whole number (example: 8034)",
        ),
        (SERVICE + "tags = 'a'", "[[service]] 1 (osint): tags: 'a' cannot be used: it must be a list of texts"),
        ("[[service]]\nname = 'osint'", "[[service]] 1 (osint): port: it is missing (example: 8034)"),
        (SERVICE.replace("osint", "os"), "[[service]] 1 (os): name: 'os' cannot be used"),
        (SERVICE.replace("8034", "70000"), "[[service]] 1 (osint): port: 70000"),
        (SERVICE + "check = 'ping'", "[[service]] 1 (osint): check: 'ping'"),
        (SERVICE + "protocol = 'ftp'", "[[service]] 1 (osint): protocol: 'ftp'"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    assert refusal({}, path).startswith(f"{path}: {said}")


@pytest.mark.parametrize("second", ['name = "osint"\n', 'name = "other"\ninstance_id = "b"\n'])
def test_the_same_address_twice_is_refused(tmp_path: Path, second: str) -> None:
    path = written(tmp_path, f'{SERVICE}[[service]]\n{second}host = "10.0.0.7"\nport = 8034\n')
    assert "is configured twice" in refusal({}, path)


def test_a_value_of_the_file_is_checked_like_one_of_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "[agent]\ncheck_interval = 0\n")
    assert refusal({}, path).startswith(f"{path}: [agent] check_interval: '0' cannot be used")
    path = written(tmp_path, '[agent]\ncheck_interval = 1\ncheck_timeout = "x"\n')
    assert refusal(ONE, path).startswith(f"{path}: [agent] check_timeout: 'x' cannot be used")
    path = written(tmp_path, '[agent]\ndns_forward = "db.vertice.internal=10.0.0.2"\n')
    assert refusal({}, path).startswith(f"{path}: [agent] dns_forward: db.vertice.internal=10.0.0.2")


def test_keys_of_the_file_are_the_settings_without_their_prefix() -> None:
    assert file_key("AGENT_HTTP_LISTEN") == "http_listen"
    assert file_key("VERTICE_REGISTRY_TOKEN") == "registry_token"
    assert file_key("REGISTRY_URL") == "registry_url"


def test_removed_settings_are_accepted_in_the_file_and_the_environment(tmp_path: Path) -> None:
    (processes,) = [setting for setting in REMOVED if setting.name == "AGENT_DNS_WORKERS"]
    assert read_agent_settings({}).ignored == ()
    assert read_agent_settings({"AGENT_DNS_WORKERS": "4"}).ignored == (processes,)
    file = tmp_path / "agent.toml"
    file.write_text("[agent]\ndns_workers = 4\n")
    assert read_agent_settings({}, file).ignored == (processes,)
    file.write_text("[agent]\ndns_worker = 4\n")
    with pytest.raises(SettingsError, match="dns_worker: there is no such key"):
        read_agent_settings({}, file)


def test_foreign_names_are_forwarded_as_the_setting_says() -> None:
    rules = "10.0.0.2:53,corp.example=[::1]:5353"
    assert str(read_agent_settings({"AGENT_DNS_FORWARD": rules}).dns_forward) == rules
    assert str(read_agent_settings({}).dns_forward) == "system"
    assert not read_agent_settings({"AGENT_DNS_FORWARD": "none"}).dns_forward.forwards


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("resolver.example", "not an IP address"),
        ("none,10.0.0.2", "either"),
        ("vertice.internal=10.0.0.2", "never forwarded"),
        ("db.Vertice.Internal=10.0.0.2", "never forwarded"),
    ],
)
def test_impossible_rules_are_refused(value: str, reason: str) -> None:
    line = refusal({"AGENT_DNS_FORWARD": value})
    assert line.startswith("AGENT_DNS_FORWARD: ")
    assert reason in line


def test_the_zone_above_ours_may_be_forwarded() -> None:
    assert read_agent_settings({"AGENT_DNS_FORWARD": "internal=10.0.0.2"}).dns_forward.forwards


@pytest.mark.parametrize("words", ["fallback", "all", "none", "10.0.0.0/8", "10.0.0.0/8,fd00::/8"])
def test_the_setting_of_reverse_names_is_shown_as_it_was_given(words: str) -> None:
    assert str(read_agent_settings({"AGENT_DNS_REVERSE": words}).dns_reverse) == words
    assert str(read_agent_settings({}).dns_reverse) == "fallback"


@pytest.mark.parametrize(
    ("words", "wrong"), [("some", "some"), ("10.0.0.1/8", "10.0.0.1/8"), ("all,10.0.0.0/8", "all")]
)
def test_a_setting_of_reverse_names_that_means_nothing_is_refused(words: str, wrong: str) -> None:
    line = refusal({"AGENT_DNS_REVERSE": words})
    assert line.startswith("AGENT_DNS_REVERSE: ")
    assert f"{wrong!r} is neither fallback, all or none, nor a network" in line


@pytest.mark.parametrize(
    "zone", ["b\u00fccher.internal", "\u2460.internal", "a..b", "-._", "a b", "*.internal", "z" * 64]
)
def test_a_zone_that_is_no_domain_name_of_ascii_is_refused(zone: str) -> None:
    line = refusal({"AGENT_DNS_ZONE": zone})
    assert line.startswith("AGENT_DNS_ZONE: ")
    assert "it is not a domain name" in line


def test_a_zone_leaves_room_for_the_longest_name_in_front_of_it() -> None:
    longest = f"{'z' * 63}.{'z' * 56}"
    assert read_agent_settings({"AGENT_DNS_ZONE": longest}).dns_zone == longest
    assert fits((b"i" * 63, b"_" + b"s" * 62, b"_tcp", *name_of(longest)))
    line = refusal({"AGENT_DNS_ZONE": f"{longest}z"})
    assert line.startswith("AGENT_DNS_ZONE: ")
    assert "it has 121 characters, and a zone has at most 120" in line
    assert not fits((b"i" * 63, b"_" + b"s" * 62, b"_tcp", *name_of(f"{longest}z")))


def test_a_service_over_tcp_and_over_udp_is_configured_twice_and_is_two_instances(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    table = '[[service]]\nname = "dns_service"\nhost = "ns-one"\nport = 5353\nprotocol = "{}"\n'
    path.write_text(table.format("tcp") + table.format("udp"))
    claims = [spec.claim for spec in read_agent_settings({}, path).services]
    assert [(claim.instance_id, claim.socket) for claim in claims] == [
        ("ns-one:5353", "ns-one:5353"),
        ("ns-one:5353-udp", "udp/ns-one:5353"),
    ]
    path.write_text(table.format("udp") + table.format("udp"))
    assert "is configured twice" in refusal({}, path)
    path.write_text(table.format("tcp") + table.format("grpc"))
    assert "is configured twice" in refusal({}, path)
