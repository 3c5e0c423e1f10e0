"""Judges what is still open: what others may read, write or overhear at a registry beyond loopback. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts, RegistrySeen
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

# A signature that is overheard lets its key be guessed elsewhere, as fast as a machine can.
ENOUGH_SECRET: Final = 20

CLOSED = DoctorRule("registry-closed", DoctorSeverity.OK, "the registry at {url} is closed to strangers")
IN_THE_CLEAR = DoctorRule(
    "registry-in-the-clear",
    DoctorSeverity.NOTE,
    "the registry at {url} is asked over plain HTTP",
    "machines on the way can read the catalogue and alter answers; signatures protect the writes alone",
    "REGISTRY_TLS_CERT=... REGISTRY_TLS_KEY=...    # at the registry; then https:// in REGISTRY_URL",
)
WRITES_OPEN = DoctorRule(
    "registry-writes-open",
    DoctorSeverity.WARNING,
    "the registry at {url} takes writes from anybody",
    "anybody who reaches it can register, replace and remove services",
    "REGISTRY_AUTH=on REGISTRY_SECRET_FILE=...    # at the registry, and the same secret at its agents",
)
READS_OPEN = DoctorRule(
    "registry-reads-open",
    DoctorSeverity.NOTE,
    "the registry at {url} tells anybody what is registered",
    "anybody who reaches it learns every address, version and tag of the fleet",
    "REGISTRY_READ=key    # at the registry; agents sign already, Prometheus gets REGISTRY_READ_KEY",
)
PLAIN_SECRETS = DoctorRule(
    "registry-plain-secrets",
    DoctorSeverity.NOTE,
    "the registry at {url} takes secrets as they are over plain HTTP, and got {count} so",
    "machines on the way can read and use them",
    "REGISTRY_PLAIN_AUTH=off    # at the registry, once no client sends them: registry_plain_secrets_total",
)
NO_AUDIT = DoctorRule(
    "registry-no-audit",
    DoctorSeverity.NOTE,
    "the registry at {url} keeps no audit log",
    "nobody can tell later who changed what",
    "REGISTRY_AUDIT=/var/lib/vertice/audit    # at each replica, on a disk that stays",
)
PROXY_NOT_BELIEVED = DoctorRule(
    "registry-proxy-not-believed",
    DoctorSeverity.WARNING,
    "the registry at {url} does not believe {proxies} about whom it forwards for",
    "all who come through it share the limits of one client, and the audit names the proxy",
    "REGISTRY_TRUSTED_PROXIES={proxies}    # at each replica, if that is a proxy of yours",
)
SHORT_SECRET = DoctorRule(
    "secret-short",
    DoctorSeverity.WARNING,
    "the secret has {length} characters",
    "an eavesdropper with one signed request can try out short secrets without asking the registry",
    "openssl rand -hex 24    # a new one; put it in front of the old one while it is changed",
)
PORT_OPEN = DoctorRule(
    "agent-port-open",
    DoctorSeverity.NOTE,
    "the agent's HTTP port at {http} can be asked from other machines",
    "they can read everything that it knows; changes need AGENT_HTTP_TOKEN",
    "AGENT_HTTP_LISTEN=127.0.0.1:8880    # unless others are meant to ask it",
)
KINDS: Final = (
    CLOSED,
    IN_THE_CLEAR,
    WRITES_OPEN,
    READS_OPEN,
    PLAIN_SECRETS,
    NO_AUDIT,
    PROXY_NOT_BELIEVED,
    SHORT_SECRET,
    PORT_OPEN,
)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on what is open."""
    seen = [registry for registry in facts.registries if registry.beyond_loopback and not registry.problem]
    for registry in seen:
        found = list(_registry(registry))
        yield from found or [CLOSED.found(url=registry.url)]
    for registry in facts.registries:
        yield from _proxies(registry)
    length = facts.subject.secret_length
    if seen and length is not None and length < ENOUGH_SECRET:
        yield SHORT_SECRET.found(length=length)
    if not facts.subject.http_listen.is_loopback:
        yield PORT_OPEN.found(http=facts.subject.http_listen)


def _registry(seen: RegistrySeen) -> Iterator[DoctorFinding]:
    if not seen.url.startswith("https:"):
        yield IN_THE_CLEAR.found(url=seen.url)
    if seen.writes_are_open:
        yield WRITES_OPEN.found(url=seen.url)
    if seen.reads_are_open:
        yield READS_OPEN.found(url=seen.url)
    if seen.plain_secrets:
        yield PLAIN_SECRETS.found(url=seen.url, count=seen.plain_secrets)
    if seen.is_audited is False:
        yield NO_AUDIT.found(url=seen.url)


def _proxies(seen: RegistrySeen) -> Iterator[DoctorFinding]:
    if seen.unbelieved_proxies:
        yield PROXY_NOT_BELIEVED.found(url=seen.url, proxies=",".join(seen.unbelieved_proxies))
