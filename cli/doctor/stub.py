"""Judges whether this machine's stub resolver asks the agent, and which server it asks first. Pure.

glibc asks the servers of resolv.conf one after another and takes the first answer, including "no such name";
musl asks them all at once and takes the first answer. Neither asks a second server because the first one did
not know the name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import DNS_PORT, Facts, ZoneAnswer
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity
from cli.doctor.resolv_conf import MAX_USED, ResolvConf, read_resolv_conf
from registry_core.domain.host_port import ANY_IPV4, ANY_IPV6
from registry_core.settings import Listen

DOCKER: Final = "127.0.0.11"
SYSTEMD: Final = ("127.0.0.53", "127.0.0.54")
_ANYWHERE: Final = (ANY_IPV4, ANY_IPV6)
# systemd 246 and newer accept a port.
TELL_SYSTEMD: Final = (
    "mkdir -p /etc/systemd/resolved.conf.d && printf '[Resolve]\\nDNS={agent}\\nDomains=~{zone}\\n' "
    "> /etc/systemd/resolved.conf.d/vertice.conf && systemctl restart systemd-resolved"
)

ALONE = DoctorRule("resolv-conf", DoctorSeverity.OK, "programs here ask only the agent ({agent}) for names")
MISSING = DoctorRule(
    "resolv-conf-missing",
    DoctorSeverity.ERROR,
    "/etc/resolv.conf has no usable server, so that programs ask 127.0.0.1, where no agent answers",
    "without a name server no name is found, not even the registry's",
    "nameserver {agent}    # in /etc/resolv.conf",
)
NOT_LISTED = DoctorRule(
    "resolv-conf-agent-missing",
    DoctorSeverity.ERROR,
    "no server in /etc/resolv.conf ({servers}) answers for {zone}: the agent at {agent} is not among them",
    "programs that look up a service get 'no such name'",
    "nameserver {agent}    # as the only one in /etc/resolv.conf; the agent forwards other names",
)
OF_AGENT = DoctorRule(
    "resolv-conf-of-agent",
    DoctorSeverity.NOTE,
    "only the agent runs in this container, and its /etc/resolv.conf ({servers}) does not lead to the agent",
    "that of the service's container decides which names programs find, and cannot be seen from here",
    "docker exec SERVICE cat /etc/resolv.conf    # `nameserver {agent}`, or 127.0.0.11 with `dns: [{agent}]`",
)
AFTER = DoctorRule(
    "resolv-conf-order",
    DoctorSeverity.ERROR,
    "the agent is server {place} in /etc/resolv.conf, after {first}",
    "the first server answers 'no such name' for services, and after an answer no other server is asked",
    "nameserver {agent}    # before the others in /etc/resolv.conf, or better, instead of them",
)
AFTER_REFUSAL = DoctorRule(
    "resolv-conf-order-refused",
    DoctorSeverity.WARNING,
    "the agent is server {place} in /etc/resolv.conf, after {first}, which refuses names of services",
    "glibc then asks the agent, one query later; once {first} answers 'no such name' instead, no service is found",
    "nameserver {agent}    # before the others in /etc/resolv.conf, or better, instead of them",
)
BEYOND = DoctorRule(
    "resolv-conf-fourth",
    DoctorSeverity.ERROR,
    "the agent is server {place} in /etc/resolv.conf, and only the first three are ever asked",
    "no program ever asks the agent",
    "nameserver {agent}    # as the first in /etc/resolv.conf",
)
TOO_MANY = DoctorRule(
    "resolv-conf-too-many",
    DoctorSeverity.WARNING,
    "/etc/resolv.conf has {count} servers, but only the first three are ever asked",
    "{ignored} is never asked, even when all others fail",
    "keep at most three `nameserver` lines",
)
BESIDE = DoctorRule(
    "resolv-conf-others",
    DoctorSeverity.WARNING,
    "besides the agent, /etc/resolv.conf has {others}",
    "while the agent restarts they are asked instead, and answer 'no such name' for healthy services",
    "remove {others} from /etc/resolv.conf, and let the agent ask them: AGENT_DNS_FORWARD={forward}",
)
MUSL_ASKS_ALL = DoctorRule(
    "resolv-conf-musl-others",
    DoctorSeverity.ERROR,
    "programs here use musl, which asks the agent and {others} at once and takes the first answer",
    "whenever another server is faster, healthy services are not found",
    "remove {others} from /etc/resolv.conf, and let the agent ask them: AGENT_DNS_FORWARD={forward}",
)
ROTATES = DoctorRule(
    "resolv-conf-rotate",
    DoctorSeverity.ERROR,
    "`options rotate` in /etc/resolv.conf sends every other query to {others} instead of the agent",
    "lookups of the same name succeed and fail by turns",
    "remove `rotate` from the `options` of /etc/resolv.conf",
)
NOT_AN_ADDRESS = DoctorRule(
    "resolv-conf-no-address",
    DoctorSeverity.WARNING,
    "/etc/resolv.conf: `nameserver {given}` is not an IP address",
    "the line is silently ignored",
    "nameserver {agent}    # an address, without a port",
)
NO_SCOPE = DoctorRule(
    "resolv-conf-no-scope",
    DoctorSeverity.WARNING,
    "/etc/resolv.conf: {server} is link-local and has no interface",
    "it cannot be reached without one; each query waits for its timeout",
    "nameserver {server}%eth0    # with the interface's name",
)
SILENT = DoctorRule(
    "resolv-conf-silent",
    DoctorSeverity.WARNING,
    "the server {server} in /etc/resolv.conf does not answer",
    "when it is asked, programs wait {timeout_s} s for it, {attempts} times",
    "remove {server} from /etc/resolv.conf, or find out why it is silent: dig @{server} . NS",
)
SLOW = DoctorRule(
    "resolv-conf-timeout",
    DoctorSeverity.NOTE,
    "programs wait {timeout_s} s for a silent server, {attempts} times",
    "while one of several servers is down, lookups take that long",
    "options timeout:1 attempts:2    # in /etc/resolv.conf",
)
SYSTEMD_STUB = DoctorRule(
    "systemd-resolved",
    DoctorSeverity.WARNING,
    "programs here ask systemd-resolved ({server}), which does not send {zone} to the agent",
    "programs that look up a service get 'no such name'",
    TELL_SYSTEMD,
)
DOCKER_STUB = DoctorRule(
    "docker-dns",
    DoctorSeverity.ERROR,
    "programs here ask Docker's resolver ({server}), which does not send {zone} to the agent (it asks: {asks})",
    "programs that look up a service get 'no such name'",
    'dns: ["127.0.0.1"]    # in the compose file, for the service whose network the agent shares; '
    "with AGENT_DNS_LISTEN=:53",
)
DOCKER_LOOP = DoctorRule(
    "docker-dns-loop",
    DoctorSeverity.WARNING,
    "Docker's resolver asks the agent, and the agent forwards other names back to Docker's resolver ({server})",
    "the agent notices the loop and breaks it, but names other than those of containers are not found",
    "AGENT_DNS_FORWARD=10.0.0.2    # a resolver of your network, instead of `system`",
)
FORWARD_NOBODY = DoctorRule(
    "forward-to-itself",
    DoctorSeverity.WARNING,
    "the agent forwards other names to the servers in /etc/resolv.conf, which list only the agent itself",
    "no other name is found, not even the registry's",
    "AGENT_DNS_FORWARD=10.0.0.2    # a resolver of your network, instead of `system`",
)
FORWARD_OFF = DoctorRule(
    "forward-none",
    DoctorSeverity.NOTE,
    "the agent is the only name server, and AGENT_DNS_FORWARD={word}: names outside {zone} are not looked up",
    "programs here find only services",
    "AGENT_DNS_FORWARD=10.0.0.2    # a resolver of your network",
)
OTHER_PORT = DoctorRule(
    "dns-port",
    DoctorSeverity.NOTE,
    "the agent answers DNS on port {port}, but /etc/resolv.conf cannot have a port",
    "HTTP, and programs that accept a port, find services; programs that use getaddrinfo() do not",
    "AGENT_DNS_LISTEN=127.0.0.1:53    # and `nameserver 127.0.0.1` in /etc/resolv.conf",
)
SEARCHED_FIRST = DoctorRule(
    "ndots",
    DoctorSeverity.WARNING,
    "with ndots:{ndots}, {name} is first asked as {first}",
    "{count} queries (A and AAAA) go to other servers before the right one; if those are slow, so is every lookup",
    "options ndots:1    # in /etc/resolv.conf; for Docker `dns_opt: [ndots:1]`; or end the name with a dot: {name}.",
)
SEARCHED_HERE_FIRST = DoctorRule(
    "ndots-own-zone",
    DoctorSeverity.NOTE,
    "with ndots:{ndots}, {name} is first asked as {first}",
    "the agent answers these at once; they are unnecessary but harmless",
    "options ndots:1    # in /etc/resolv.conf; or end the name with a dot: {name}.",
)
NOT_SEARCHED = DoctorRule(
    "search-zone",
    DoctorSeverity.NOTE,
    "{zone} is not among the search suffixes of /etc/resolv.conf",
    "`billing.{zone}` is found, but `billing` alone is not",
    "search {zone}    # in /etc/resolv.conf; for Docker `dns_search: [{zone}]`",
)
SEARCHED_LATE = DoctorRule(
    "search-order",
    DoctorSeverity.WARNING,
    "`billing` is asked as billing.{first} before billing.{zone}",
    "the lookup first waits for another server, and a machine of that name is mistaken for the service",
    "search {zone} {others}    # in /etc/resolv.conf",
)
SEARCH_REFUSED = DoctorRule(
    "search-refused",
    DoctorSeverity.ERROR,
    "`billing` is asked as billing.{first} before billing.{zone}, and AGENT_DNS_FORWARD=none refuses that name",
    "glibc, musl and c-ares end the search at a refusal: no service is found by its name alone",
    "search {zone} {others}    # in /etc/resolv.conf; or AGENT_DNS_FORWARD=nxdomain",
)
CARES_REFUSED = DoctorRule(
    "c-ares-refused",
    DoctorSeverity.WARNING,
    "with ndots:{ndots}, {name} is first asked under {suffix}, which AGENT_DNS_FORWARD=none refuses",
    "programs with a resolver of their own, such as c-ares (Envoy, Node.js, aiodns), end the lookup there",
    "options ndots:1    # in /etc/resolv.conf; or AGENT_DNS_FORWARD=nxdomain",
)
MUSL_TRY_AGAIN = DoctorRule(
    "musl-refused",
    DoctorSeverity.ERROR,
    "programs here use musl, and AGENT_DNS_FORWARD=none refuses names under the search suffix {suffix}",
    "musl treats the refusal as no answer, and ends the lookup of {name} with 'Try again'",
    "options ndots:1    # in /etc/resolv.conf, with no search suffix but {zone}; or AGENT_DNS_FORWARD=nxdomain",
)
KINDS: Final = (
    *(ALONE, MISSING, NOT_LISTED, OF_AGENT, AFTER, AFTER_REFUSAL, BEYOND, TOO_MANY, BESIDE, MUSL_ASKS_ALL, ROTATES),
    *(NOT_AN_ADDRESS, NO_SCOPE, SILENT, SLOW, SYSTEMD_STUB, DOCKER_STUB, DOCKER_LOOP),
    *(FORWARD_NOBODY, FORWARD_OFF, OTHER_PORT),
    *(SEARCHED_FIRST, SEARCHED_HERE_FIRST, NOT_SEARCHED, SEARCHED_LATE),
    *(SEARCH_REFUSED, CARES_REFUSED, MUSL_TRY_AGAIN),
)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on /etc/resolv.conf."""
    conf = read_resolv_conf(facts.machine.resolv_conf or "")
    ours = [server for server in conf.servers or conf.used if _is_ours(server, facts)]
    yield from _servers(conf, ours, facts)
    yield from _lines(conf, ours, facts)
    yield from _forwarding(conf, ours, facts)
    # If no agent is asked, it does not matter how.
    if ours:
        yield from _searching(conf, facts)


def _is_ours(server: str, facts: Facts) -> bool:
    answer = facts.nameservers.get(server)
    if answer is not None and answer is not ZoneAnswer.SILENT:
        return answer.leads_here
    # The agent is not running: go by the address.
    listen = facts.subject.dns_listen
    if facts.agent is not None or listen.port != DNS_PORT:
        return False
    here = ipaddress.ip_address(server).is_loopback and server not in (DOCKER, *SYSTEMD)
    return server == listen.host or (listen.host in _ANYWHERE and (here or server in facts.machine.addresses))


def _servers(conf: ResolvConf, ours: list[str], facts: Facts) -> Iterator[DoctorFinding]:
    agent, zone = address_of(facts.subject.dns_listen), facts.subject.zone
    used = [server for server in conf.used if server in ours]
    others = [server for server in conf.used if server not in ours]
    shown = ", ".join(others)
    if not ours:
        yield _nobody(conf, facts)
    elif not used:
        yield BEYOND.found(place=conf.servers.index(ours[0]) + 1, agent=agent)
    elif not others:
        yield ALONE.found(agent=used[0])
    else:
        place = conf.used.index(used[0])
        forward = ",".join(others)
        if facts.machine.libc.is_musl:
            yield MUSL_ASKS_ALL.found(others=shown, forward=forward)
        elif place > 0:
            refused = all(facts.nameservers.get(one) is ZoneAnswer.REFUSES for one in conf.used[:place])
            kind = AFTER_REFUSAL if refused else AFTER
            yield kind.found(place=place + 1, first=conf.used[0], agent=used[0])
        else:
            yield BESIDE.found(others=shown, forward=forward)
        if conf.rotates and not facts.machine.libc.is_musl:
            yield ROTATES.found(others=shown)
    if len(conf.servers) > MAX_USED:
        yield TOO_MANY.found(count=len(conf.servers), ignored=", ".join(conf.servers[MAX_USED:]), zone=zone)


def _nobody(conf: ResolvConf, facts: Facts) -> DoctorFinding:
    """Return the finding for a file that does not lead to an agent."""
    subject = facts.subject
    agent, zone, listen = address_of(subject.dns_listen), subject.zone, subject.dns_listen
    if facts.machine.is_agents_own:
        reached = agent if listen.is_loopback else next(iter(facts.machine.addresses), agent)
        return OF_AGENT.found(servers=", ".join(conf.used) or "empty", agent=reached)
    stub = next((server for server in conf.used if server in SYSTEMD), None)
    if stub is not None:
        return SYSTEMD_STUB.found(server=stub, zone=zone, agent=Listen(agent, listen.port))
    if listen.port != DNS_PORT:
        return OTHER_PORT.found(port=listen.port)
    if DOCKER in conf.used:
        return DOCKER_STUB.found(server=DOCKER, zone=zone, asks=conf.docker_asks or "the servers of the engine")
    if not conf.servers:
        return MISSING.found(agent=agent)
    return NOT_LISTED.found(servers=", ".join(conf.used), zone=zone, agent=agent)


def _lines(conf: ResolvConf, ours: list[str], facts: Facts) -> Iterator[DoctorFinding]:
    for given in conf.wrong:
        yield NOT_AN_ADDRESS.found(given=given, agent=address_of(facts.subject.dns_listen))
    for server in conf.used:
        address = ipaddress.ip_address(server)
        if isinstance(address, ipaddress.IPv6Address) and address.is_link_local and address.scope_id is None:
            yield NO_SCOPE.found(server=server)
        elif server not in ours and facts.nameservers.get(server) is ZoneAnswer.SILENT:
            yield SILENT.found(server=server, timeout_s=conf.timeout_s, attempts=conf.attempts)
    if len(conf.used) > 1 and conf.timeout_s * conf.attempts >= 10:
        yield SLOW.found(timeout_s=conf.timeout_s, attempts=conf.attempts)


def _forwarding(conf: ResolvConf, ours: list[str], facts: Facts) -> Iterator[DoctorFinding]:
    if not ours or set(conf.used) - set(ours):
        return
    if not facts.subject.forwards:
        yield FORWARD_OFF.found(zone=facts.subject.zone, word="nxdomain" if facts.subject.denies else "none")
    elif facts.subject.forwards_to_system:
        yield DOCKER_LOOP.found(server=DOCKER) if DOCKER in ours else FORWARD_NOBODY.found()


def _searching(conf: ResolvConf, facts: Facts) -> Iterator[DoctorFinding]:
    zone = facts.subject.zone
    name = f"billing.{zone}"
    foreign = [suffix for suffix in conf.search if not _is_within(suffix, zone)]
    searched_first = conf.search if name.count(".") < conf.ndots else ()
    if searched_first:
        first = ", ".join(f"{name}.{suffix}" for suffix in searched_first)
        kind = SEARCHED_FIRST if foreign else SEARCHED_HERE_FIRST
        yield kind.found(ndots=conf.ndots, name=name, first=first, count=2 * len(foreign))
    if zone not in conf.search:
        yield NOT_SEARCHED.found(zone=zone)
    elif conf.search[0] != zone:
        others = " ".join(suffix for suffix in conf.search if suffix != zone)
        refuses = _refuses(facts) and any(one in foreign for one in conf.search[: conf.search.index(zone)])
        kind = SEARCH_REFUSED if refuses else SEARCHED_LATE
        yield kind.found(first=conf.search[0], zone=zone, others=others)
    if not foreign or not _refuses(facts):
        return
    if facts.machine.libc.is_musl and (searched_first or zone not in conf.search):
        shown = name if searched_first else "billing"
        yield MUSL_TRY_AGAIN.found(suffix=foreign[0], name=shown, zone=zone)
    elif searched_first:
        yield CARES_REFUSED.found(suffix=foreign[0], name=name, ndots=conf.ndots)


def _refuses(facts: Facts) -> bool:
    return not (facts.subject.forwards or facts.subject.denies)


def _is_within(suffix: str, zone: str) -> bool:
    return suffix == zone or suffix.endswith(f".{zone}")


def address_of(listen: Listen) -> str:
    """Return the address on this machine at which to query an agent that listens there."""
    return "127.0.0.1" if listen.host == "localhost" else listen.local_host
