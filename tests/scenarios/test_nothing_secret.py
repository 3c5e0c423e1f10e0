"""Nothing secret is in anything that a program prints, logs, writes or answers."""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path

import pytest

from registry_core.security.signing_keys import read_key, service_key
from tests.programs import VERTICE, accepts, free_port, running, wait_until

SECRET = "q7-never-shown-z9"
READ_KEY = "r8-never-shown-either"
AGENT_PATHS = (
    "/self",
    "/health",
    "/metrics",
    "/services",
    "/services/web",
    "/resolve/web",
    "/explain/web",
    "/drain",
    "/x",
)
PLAIN = ("X-Registry-Token", "X-Registry-API-Key", "Authorization", "Signature", "Signature-Input", "Content-Digest")
REGISTRY_PATHS = ("/health", "/metrics", "/services", "/services/web", "/catalog", "/openapi.json", "/x")


def said_by(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return f"{answer.headers}{answer.read().decode()}"
    finally:
        connection.close()


def posted(port: int, header: str, value: str) -> str:
    """Return what the registry answers to a credential that is wrong by one character."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/register", b"{}", {"Content-Type": "application/json", header: value})
        answer = connection.getresponse()
        return f"{answer.headers}{answer.read().decode()}"
    finally:
        connection.close()


def vertice(*words: str, **environment: str) -> str:
    argv = ["/usr/bin/env", *(f"{k}={v}" for k, v in environment.items()), *VERTICE, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def test_a_secret_is_in_no_output_of_agent_registry_and_commands(tmp_path: Path) -> None:
    port, http_port = free_port(), free_port()
    registry_url = f"http://127.0.0.1:{port}"
    secret_file, read_key_file, keys_file = (tmp_path / name for name in ("secret", "read.key", "keys.json"))
    secret_file.write_text(SECRET)
    read_key_file.write_text(READ_KEY)
    issued = read_key(vertice("keys", "issue", "--service", "web", "--file", str(keys_file)).partition("\n")[0])
    derived = service_key("web", SECRET)
    never = [SECRET, READ_KEY, issued.secret, derived.secret]
    for_registry = {
        "REGISTRY_LISTEN": f"127.0.0.1:{port}",
        "REGISTRY_SECRET_FILE": str(secret_file),
        "REGISTRY_READ_KEY_FILE": str(read_key_file),
        "REGISTRY_KEYS_FILE": str(keys_file),
        "REGISTRY_LOG_LEVEL": "debug",
    }
    for_agent = {
        "SERVICE_NAME": "web",
        "SERVICE_HOST": "127.0.0.1",
        "SERVICE_PORT": str(port),
        "AGENT_CHECK": "none",
        "AGENT_LOG_LEVEL": "debug",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_STATE_DIR": str(tmp_path / "state"),
        "REGISTRY_URL": registry_url,
        "VERTICE_REGISTRY_TOKEN": SECRET,
    }
    said: list[str] = []
    with running([*VERTICE, "registry"], tmp_path / "registry.log", for_registry) as registry:
        wait_until(lambda: accepts(port), "the registry listens")
        with running([*VERTICE, "agent"], tmp_path / "agent.log", for_agent) as agent:
            wait_until(lambda: '"web"' in said_by(port, "/services"), "the service is registered")
            said += [said_by(http_port, path) for path in AGENT_PATHS]
            said += [said_by(port, path) for path in REGISTRY_PATHS]
            commands = (
                ("doctor",),
                ("services",),
                ("status",),
                ("maintenance", "status"),
                ("explain", "web"),
                ("snapshot", "save", str(tmp_path / "saved")),
                ("guard", "release"),
            )
            said += [vertice(*words, **for_agent) for words in commands]
            said += [vertice("registry", "--show-settings", *words, **for_registry) for words in ((), ("-o", "json"))]
            said += [vertice("keys", "list", *words, **for_registry) for words in ((), ("-o", "json"))]
            said += [posted(port, name, f"{secret}x") for name in PLAIN for secret in never]
            # What `ps` shows of each process to everybody. Its environment is its user's alone.
            said += [Path(f"/proc/{one.pid}/cmdline").read_text() for one in (registry, agent)]
        said += [agent.output()]
        with running(
            [*VERTICE, "agent"], tmp_path / "refused.log", {**for_agent, "VERTICE_REGISTRY_TOKEN": f"{SECRET}x"}
        ) as refused:
            wait_until(lambda: "401" in refused.output() or "refused" in refused.output(), "it is refused")
        said += [refused.output(), registry.output()]
    its_own = {secret_file, read_key_file, keys_file}
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file not in its_own]
    said += [file.read_text(errors="replace") for file in files]
    assert len(said) > 40
    assert [text for text in said if any(secret in text for secret in never)] == []


@pytest.mark.parametrize(
    ("command", "setting", "value"),
    [
        ("agent", "REGISTRY_URL", f"http://admin:{SECRET}@127.0.0.1:1"),
        ("agent", "REGISTRY_URL", f"http://127.0.0.1:1,ftp://admin:{SECRET}@127.0.0.1:1"),
        ("agent", "VERTICE_REGISTRY_TOKEN", f"{SECRET}\nsecond line"),
        ("registry", "REGISTRY_SECRET", f"{SECRET}\tx"),
        ("registry", "REGISTRY_PEERS", f"http://admin:{SECRET}@127.0.0.1:1"),
        ("registry", "REGISTRY_STORE", f"redis://:{SECRET}@127.0.0.1:1/notanumber"),
        ("watch", "REGISTRY_URL", f"http://admin:{SECRET}@127.0.0.1:1"),
        ("guard", "VERTICE_REGISTRY_TOKEN", f"{SECRET}\nsecond line"),
    ],
)
def test_a_wrong_setting_ends_with_two_and_its_secret_is_not_shown(command: str, setting: str, value: str) -> None:
    words = [command, "release"] if command == "guard" else [command]
    argv = ["/usr/bin/env", f"{setting}={value}", *VERTICE, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"vertice: {setting}: ")
    assert len(done.stderr.splitlines()) == 1
    assert SECRET not in done.stdout + done.stderr
