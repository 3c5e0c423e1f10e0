"""A registry that is a certificate authority, and an agent that keeps certificates for two services: real programs."""

from __future__ import annotations

import contextlib
import json
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cli.ca.authority_folder import AuthorityFolder
from tests.authorities import DOMAIN, authority_in
from tests.programs import VERTICE, accepts, free_port, running, wait_until

ZONE = DOMAIN.zones[0]
SERVER, CLIENT = "billing", "mail_relay"
AGENT = """
[agent]
cert_dir = "{folder}"
{more}
[[service]]
name = "billing"
host = "127.0.0.1"
port = {port}
check = "none"
[[service]]
name = "mail_relay"
host = "127.0.0.1"
port = {other}
check = "none"
"""


class CertifiedFleet:
    """The running fleet, and what its files hold."""

    def __init__(self, folder: Path, authority: AuthorityFolder, registry: str, agent: str, port: int) -> None:
        self.certificates = folder / "certificates"
        self.authority = authority
        self.registry, self.agent = registry, agent
        self.port = port  # of the service `billing`, which a test starts

    def self(self) -> Any:
        """Return what the agent says of itself."""
        with urllib.request.urlopen(f"{self.agent}/self", timeout=5) as answer:
            return json.load(answer)

    def report(self, service: str = SERVER) -> Any:
        """Return what the agent says of one certificate."""
        return next(one for one in self.self()["certificates"] if one["service_name"] == service)

    def file(self, name: str) -> Path:
        """Return the path of a file, such as `billing.crt`."""
        return self.certificates / name

    def roots(self) -> int:
        """Return how many roots the services trust."""
        return self.file(f"{SERVER}.ca.crt").read_text().count("BEGIN CERTIFICATE")

    def client_context(self) -> ssl.SSLContext:
        """Return a context of the service `mail_relay`, from files of one version."""
        folder = self.file(f"{CLIENT}.d").resolve(strict=True)
        context = ssl.create_default_context(cafile=str(folder / f"{CLIENT}.ca.crt"))
        context.load_cert_chain(folder / f"{CLIENT}.crt", folder / f"{CLIENT}.key")
        return context


@contextlib.contextmanager
def certified_fleet(
    folder: Path, *, lifetime: str = "1h", command: Callable[[Path], str] | None = None
) -> Iterator[CertifiedFleet]:
    """Run it for the duration of a `with`; both services have certificates then. `command` is told the folder."""
    authority = authority_in(folder / "ca")
    registry, agent, dns, port = free_port(), free_port(), free_port(), free_port()
    config = folder / "agent.toml"
    more = f"cert_command = {json.dumps(command(folder))}" if command is not None else ""
    config.write_text(AGENT.format(folder=folder / "certificates", more=more, port=port, other=free_port()))
    for_registry = {
        "REGISTRY_LISTEN": f"127.0.0.1:{registry}",
        "REGISTRY_CA_CERT": str(authority.replicas.cert),
        "REGISTRY_CA_KEY": str(authority.replicas.key),
        "REGISTRY_CERT_LIFETIME": lifetime,
        "REGISTRY_TRUST_DOMAIN": DOMAIN.trust_domain,
    }
    for_agent = {
        "AGENT_CONFIG": str(config),
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{agent}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
        "AGENT_DNS_FORWARD": "none",
        "AGENT_DRAIN_WAIT": "0",
        "REGISTRY_URL": f"http://127.0.0.1:{registry}",
    }
    with (
        running([*VERTICE, "registry"], folder / "registry.log", for_registry) as first,
        running([*VERTICE, "agent"], folder / "agent.log", for_agent) as second,
    ):
        fleet = CertifiedFleet(folder, authority, f"http://127.0.0.1:{registry}", f"http://127.0.0.1:{agent}", port)

        def ready() -> bool:
            assert first.process.poll() is None, first.output()
            assert second.process.poll() is None, second.output()
            return all(fleet.file(f"{name}.pem").exists() for name in (SERVER, CLIENT)) and accepts(agent)

        wait_until(ready, "both services have certificates", timeout_s=40)
        yield fleet
