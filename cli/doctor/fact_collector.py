"""Collects the facts: first from this machine and its agent, then from everything else.

It runs the collectors in parallel within a common timeout, and judges nothing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from agent.settings.settings import AgentSettings, read_agent_settings
from agent.settings.table import REGISTRY_URL
from cli.doctor import proxies
from cli.doctor.dns_probes import ask_for_zone, hides_addresses, refuses_many
from cli.doctor.facts import (
    DNS_PORT,
    AdvertisedService,
    Agent,
    Facts,
    Lookup,
    Machine,
    RegistrySeen,
    StateDirFacts,
    Subject,
    ZoneAnswer,
)
from cli.doctor.http_probes import MAX_SERVICES, ask_agent, ask_registry, connects, resolve
from cli.doctor.machine import ROOT, read_machine
from cli.doctor.parallel import Together
from cli.doctor.resolv_conf import read_resolv_conf
from cli.doctor.resolvers_in_front import MOST_IN_BIND
from cli.doctor.state_dir_facts import look_at
from cli.doctor.stub import address_of
from cli.tls import speaking
from dns.access import LOOPBACK
from dns.forward_rules import DENIED, SYSTEM
from registry_core.causes import cause_of
from registry_core.domain.records import Protocol
from registry_core.errors import SettingsError
from registry_core.security.sending import SenderKeys
from registry_core.settings import Listen

# Together less than 10 s, even if everything hangs.
HERE_S: Final = 3.0
ELSEWHERE_S: Final = 6.0
MAX_REGISTRIES: Final = 8


def examine(
    environment: Mapping[str, str], config: Path | None = None, agent_url: str | None = None, root: Path = ROOT
) -> Facts:
    """Return the facts about this machine. `agent_url` overrides the agent's address in the settings."""
    problem = ""
    try:
        settings = read_agent_settings(environment, config)
    except SettingsError as error:
        settings, problem = AgentSettings(), str(error)
    here = Together(HERE_S)
    reading = here.begin("the files of this machine", lambda: read_machine(root))
    asking = here.begin("the agent", lambda: ask_agent(agent_url or url_of(settings.http_listen)))
    machine, agent = here.result(reading, Machine()), here.result(asking, None)
    subject, told = _completed(_subject(settings), agent, environment, has_file=config is not None or bool(problem))
    facts = Facts(
        subject=subject,
        machine=machine,
        settings_problem=problem,
        told_by_agent=told,
        agent=agent,
        proxies={name: environment[name] for name in (*proxies.NAMES, *proxies.EXCEPT) if environment.get(name)},
        not_in_time=tuple(here.missing),
        python=platform.python_version(),
    )
    return _elsewhere(facts, settings.keys)


def url_of(where: Listen) -> str:
    """Return the URL of an agent that listens there, as seen from this machine."""
    return f"http://{Listen(address_of(where), where.port)}"


def _subject(settings: AgentSettings) -> Subject:
    rules = settings.dns_forward
    return Subject(
        zone=settings.dns_zone,
        http_listen=settings.http_listen,
        dns_listen=settings.dns_listen,
        registry_urls=settings.registry_urls,
        has_token=settings.keys.of() is not None,
        tls=settings.tls,
        forwards=rules.rule_for(()).target not in ((), DENIED),
        denies=rules.rule_for(()).target is DENIED,
        forwards_to_system=rules.rule_for(()).target == SYSTEM,
        allows_only_loopback=set(settings.dns_allow) <= set(LOOPBACK),
        services=tuple(
            AdvertisedService(
                name=spec.claim.service_name,
                host=spec.claim.host,
                port=spec.claim.port,
                is_udp=spec.claim.protocol is Protocol.UDP,
            )
            for spec in settings.services[:MAX_SERVICES]
        ),
        state_dir=settings.state_dir,
        drain_wait_s=settings.drain_wait_s,
        secret_length=_secret_length(settings.keys),
    )


def _secret_length(keys: SenderKeys) -> int | None:
    key = keys.of()
    return None if key is None else len(key.secret)


def _completed(
    subject: Subject, agent: Agent | None, environment: Mapping[str, str], *, has_file: bool
) -> tuple[Subject, tuple[str, ...]]:
    """Return `subject` with missing settings filled in from the running agent, and their names."""
    told: list[str] = []
    if agent is None or has_file or environment.get("AGENT_CONFIG", "").strip():
        return subject, ()
    if not subject.services and agent.services:
        subject = msgspec.structs.replace(subject, services=agent.services)
        told.append("SERVICE_NAME")
    if not environment.get(REGISTRY_URL.name, "").strip() and agent.registry_urls not in ((), subject.registry_urls):
        subject = msgspec.structs.replace(subject, registry_urls=agent.registry_urls)
        told.append(REGISTRY_URL.name)
    return subject, tuple(told)


def _elsewhere(facts: Facts, keys: SenderKeys) -> Facts:
    subject = facts.subject
    zone, dns = subject.zone, subject.dns_listen
    together = Together(ELSEWHERE_S)
    servers = read_resolv_conf(facts.machine.resolv_conf or "")
    asked = {
        server: together.begin(f"the name server {server}", partial(_ask_through, server, facts))
        for server in servers.servers or servers.used
    }
    answering = together.begin("DNS of the agent", partial(ask_for_zone, address_of(dns), zone, dns.port))
    looking = together.begin("a lookup", partial(look_up, f"ns.{zone}"))
    services = [together.begin(f"the address of {one.name}", partial(_located, one)) for one in subject.services]
    registries = {
        url: together.begin(url, partial(speaking, subject.tls, partial(ask_registry, url, keys)))
        for url in subject.registry_urls[:MAX_REGISTRIES]
    }
    folder = together.begin("AGENT_STATE_DIR", partial(_folder, subject.state_dir))

    answer = together.result(answering, ZoneAnswer.SILENT)
    through = {server: together.result(job, (ZoneAnswer.SILENT, False)) for server, job in asked.items()}
    held = together.result(folder, None)
    # The following checks have their own findings for timeouts.
    missing = tuple(together.missing)
    located = tuple(together.result(job, one) for job, one in zip(services, subject.services, strict=True))
    seen = [
        together.result(job, RegistrySeen(url=url, problem="it did not answer in time"))
        for url, job in registries.items()
    ]
    lookup = together.result(looking, Lookup(name=f"ns.{zone}", done=False))
    return msgspec.structs.replace(
        facts,
        subject=msgspec.structs.replace(subject, services=located),
        dns_answer=answer,
        nameservers={server: said for server, (said, _) in through.items()},
        large_refused=tuple(server for server, (_, refused) in through.items() if refused),
        registries=tuple(seen),
        state=held,
        lookup=lookup,
        not_in_time=(*facts.not_in_time, *missing),
    )


def _ask_through(server: str, facts: Facts) -> tuple[ZoneAnswer, bool]:
    """Return the server's answer for the zone, and whether it fails for the agent's largest service. Blocks."""
    subject, agent = facts.subject, facts.agent
    said = ask_for_zone(server, subject.zone)
    at = address_of(subject.dns_listen), subject.dns_listen.port
    if said is not ZoneAnswer.OURS or agent is None or at == (server, DNS_PORT):
        return said, False
    if any(hides_addresses(server, f"{service.name}.{subject.zone}", at) for service in subject.services[:1]):
        said = ZoneAnswer.FILTERED
    many = agent.largest_instances > MOST_IN_BIND
    return said, many and refuses_many(server, f"_{agent.largest_service}._tcp.{subject.zone}", at)


def _folder(path: str) -> StateDirFacts | None:
    return look_at(Path(path)) if path else None


def look_up(name: str) -> Lookup:
    """Return the system resolver's answer for `name`. Blocks for as long as the resolver does."""
    began = time.monotonic()
    try:
        addresses, problem = resolve(name), ""
    except OSError as error:
        addresses, problem = (), cause_of(error)
    return Lookup(name=name, addresses=addresses, problem=problem, took_s=time.monotonic() - began)


def _located(service: AdvertisedService) -> AdvertisedService:
    try:
        addresses = resolve(service.host)
    except OSError:
        return service
    listening = None if service.is_udp else any(connects(address, service.port) for address in addresses[:2])
    return msgspec.structs.replace(service, addresses=addresses, listening=listening)
