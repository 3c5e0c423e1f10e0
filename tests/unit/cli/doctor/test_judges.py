"""The findings of `vertice doctor`: one row for each fault, with all findings that it causes."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from cli.doctor import catalogue, finding, proxies, stub
from cli.doctor.agent_health import MAX_REASONS
from cli.doctor.catalogue import CHAPTERS, findings
from cli.doctor.facts import (
    AdvertisedService,
    Agent,
    Facts,
    FollowSeen,
    Libc,
    Lookup,
    Machine,
    RegistrySeen,
    StateDirFacts,
    Subject,
    ZoneAnswer,
)
from cli.doctor.finding import WORST_FIRST, DoctorFinding, DoctorRule, DoctorSeverity
from registry_core.listening_sockets import Listener
from registry_core.settings import Listen

OURS, UNKNOWN, SILENT, ELSEWHERES = ZoneAnswer.OURS, ZoneAnswer.UNKNOWN, ZoneAnswer.SILENT, ZoneAnswer.ELSEWHERES
URL = "http://10.0.0.2:8888"
BILLING = AdvertisedService(name="billing", host="10.0.0.7", port=8034, addresses=("10.0.0.7",), listening=True)
SEEN = RegistrySeen(
    url=URL, state="ready", version="1.0", ahead_s=0.1, error_s=0.5, seen_as="10.0.0.7", write_status=404
)
# On another machine, and closed as far as that goes.
FAR = {"url": "https://10.0.0.2:8888", "beyond_loopback": True, "is_audited": True}
AGENT = Agent(services=(BILLING,), registry_urls=(URL,), status="healthy")
REFUSED = msgspec.structs.replace(BILLING, refusal="the token is wrong")
HELD = StateDirFacts(path="/var/lib/vertice", free_bytes=2**30)
# A machine without faults.
WELL = Facts(
    subject=Subject(
        zone="vertice.internal",
        http_listen=Listen("127.0.0.1", 8880),
        dns_listen=Listen("127.0.0.1", 53),
        registry_urls=(URL,),
        has_token=True,
        forwards_to_system=False,
        services=(BILLING,),
        state_dir="/var/lib/vertice",
    ),
    machine=Machine(
        resolv_conf="nameserver 127.0.0.1\nsearch vertice.internal\n",
        nsswitch="hosts: files dns\n",
        addresses=("10.0.0.7",),
        rmem_max=2**23,
        open_files=4096,
    ),
    agent=AGENT,
    dns_answer=OURS,
    nameservers={"127.0.0.1": OURS},
    registries=(SEEN,),
    state=HELD,
    lookup=Lookup(name="ns.vertice.internal", addresses=("127.0.0.1",)),
)
WITHOUT_AGENT: dict[str, Any] = {"agent": None, "dns_answer": SILENT, "nameservers": {"127.0.0.1": SILENT}}
LARGE_AGENT = Agent(services=(BILLING,), registry_urls=(URL,), largest_service="large", largest_instances=150)
MUSL = Libc(is_musl=True, version="1.2.5")
IPV6_LINK_LOCAL = "fe80::1"


def changed(
    *,
    subject: dict[str, Any] | None = None,
    machine: dict[str, Any] | None = None,
    resolv: str | None = None,
    service: dict[str, Any] | None = None,
    registry: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    **facts: Any,
) -> Facts:
    """Return the healthy machine with a change."""
    subject, machine = dict(subject or {}), dict(machine or {})
    if service is not None:
        subject["services"] = (msgspec.structs.replace(BILLING, **service),)
    if resolv is not None:
        machine["resolv_conf"] = resolv
    if registry is not None:
        facts["registries"] = (msgspec.structs.replace(SEEN, **registry),)
    if state is not None:
        facts["state"] = msgspec.structs.replace(HELD, **state)
    return msgspec.structs.replace(
        WELL,
        subject=msgspec.structs.replace(WELL.subject, **subject),
        machine=msgspec.structs.replace(WELL.machine, **machine),
        **facts,
    )


def servers(*hosts: str, more: str = "search vertice.internal\n") -> str:
    return "".join(f"nameserver {host}\n" for host in hosts) + more


BOTH = {"127.0.0.1": OURS, "10.0.0.53": UNKNOWN}
OTHER = {"10.0.0.53": UNKNOWN}
FOREIGN_SEARCH = "search vertice.internal svc.cluster.local\n"
LATE_SEARCH = "search svc.cluster.local vertice.internal\n"

CASES: list[tuple[str, Facts, set[str]]] = [
    ("nothing", WELL, set()),
    # -- the agent
    ("an agent of the last release", changed(agent=msgspec.structs.replace(AGENT, status="")), set()),
    (
        "a refused service",
        changed(
            agent=msgspec.structs.replace(
                AGENT,
                services=(REFUSED,),
                status="degraded",
                reasons=("billing (10.0.0.7:8034) is refused: the token",),
            )
        ),
        {"agent-refused"},
    ),
    (
        "an agent with an old view",
        changed(agent=msgspec.structs.replace(AGENT, status="degraded", reasons=("the view is stale",))),
        {"agent-degraded"},
    ),
    (
        "an agent without a view",
        changed(agent=msgspec.structs.replace(AGENT, status="unhealthy", reasons=("nothing has been heard",))),
        {"agent-unhealthy"},
    ),
    # -- settings
    (
        "a wrong setting",
        changed(settings_problem="SERVICE_PORT: 'x' cannot be used"),
        {"settings-wrong"},
    ),
    ("the agent told", changed(told_by_agent=("SERVICE_NAME", "REGISTRY_URL")), {"settings-of-agent"}),
    (
        "another service's agent",
        changed(agent=Agent(services=(msgspec.structs.replace(BILLING, name="mail_relay"),))),
        {"agent-other"},
    ),
    (
        "the agent has another registry",
        changed(agent=Agent(registry_urls=("http://10.9.9.9:8888",))),
        {"agent-other-registry"},
    ),
    ("a disk hangs", changed(not_in_time=("AGENT_STATE_DIR",), state=None), {"not-examined"}),
    # -- lookups
    (
        "a slow lookup",
        changed(lookup=Lookup(name="ns.vertice.internal", addresses=("127.0.0.1",), took_s=5.0)),
        {"lookup-slow"},
    ),
    (
        "a lookup past the agent",
        changed(lookup=Lookup(name="ns.vertice.internal", problem="Name or service not known")),
        {"lookup-lost"},
    ),
    ("a lookup that finds another", changed(lookup=Lookup(name="ns.x", addresses=("192.0.2.1",))), {"lookup-lost"}),
    ("a lookup that hangs", changed(lookup=Lookup(name="ns.vertice.internal", done=False)), {"lookup-hangs"}),
    # -- resolv.conf: which servers
    (
        "no server, and no agent at the default one",
        changed(resolv="search vertice.internal\n", nameservers={"127.0.0.1": SILENT}),
        {"resolv-conf-missing", "resolv-conf-silent"},
    ),
    ("no server, and the agent at the default one", changed(resolv="search vertice.internal\n"), set()),
    ("the agent is not listed", changed(resolv=servers("10.0.0.53"), nameservers=OTHER), {"resolv-conf-agent-missing"}),
    (
        "the agent is second",
        changed(
            resolv=servers("10.0.0.53", "127.0.0.1", more="search vertice.internal\noptions timeout:1\n"),
            nameservers=BOTH,
        ),
        {"resolv-conf-order"},
    ),
    (
        "the agent is second, after one that refuses",
        changed(
            resolv=servers("10.0.0.53", "127.0.0.1", more="search vertice.internal\noptions timeout:1\n"),
            nameservers={"10.0.0.53": ZoneAnswer.REFUSES, "127.0.0.1": OURS},
        ),
        {"resolv-conf-order-refused"},
    ),
    (
        "the agent is first of two, with the usual timeout",
        changed(resolv=servers("127.0.0.1", "10.0.0.53"), nameservers=BOTH),
        {"resolv-conf-others", "resolv-conf-timeout"},
    ),
    (
        "questions go round",
        changed(
            resolv=servers("127.0.0.1", "10.0.0.53", more="search vertice.internal\noptions rotate timeout:1\n"),
            nameservers=BOTH,
        ),
        {"resolv-conf-others", "resolv-conf-rotate"},
    ),
    (
        "musl asks both at once",
        changed(
            resolv=servers("127.0.0.1", "10.0.0.53", more="search vertice.internal\noptions timeout:1\n"),
            nameservers=BOTH,
            machine={"libc": MUSL},
        ),
        {"resolv-conf-musl-others", "musl"},
    ),
    (
        "the agent is fourth",
        changed(
            resolv=servers(
                "10.0.0.1", "10.0.0.2", "10.0.0.3", "127.0.0.1", more="search vertice.internal\noptions timeout:1\n"
            ),
            nameservers={"10.0.0.1": UNKNOWN, "10.0.0.2": UNKNOWN, "10.0.0.3": UNKNOWN, "127.0.0.1": OURS},
        ),
        {"resolv-conf-fourth", "resolv-conf-too-many"},
    ),
    (
        "a name in the place of an address",
        changed(resolv=servers("localhost", "127.0.0.1")),
        {"resolv-conf-no-address"},
    ),
    (
        "a link-local server without an interface",
        changed(
            resolv=servers("127.0.0.1", IPV6_LINK_LOCAL, more="search vertice.internal\noptions timeout:1\n"),
            nameservers={"127.0.0.1": OURS, IPV6_LINK_LOCAL: SILENT},
        ),
        {"resolv-conf-others", "resolv-conf-no-scope"},
    ),
    (
        "a silent server",
        changed(
            resolv=servers("127.0.0.1", "10.0.0.53", more="search vertice.internal\noptions timeout:1\n"),
            nameservers={"127.0.0.1": OURS, "10.0.0.53": SILENT},
        ),
        {"resolv-conf-others", "resolv-conf-silent"},
    ),
    (
        "systemd-resolved that does not know",
        changed(resolv=servers("127.0.0.53"), nameservers={"127.0.0.53": UNKNOWN}),
        {"systemd-resolved"},
    ),
    (
        "systemd-resolved that knows",
        changed(resolv=servers("127.0.0.53"), nameservers={"127.0.0.53": OURS}),
        set(),
    ),
    (
        "Docker's resolver that does not know",
        changed(resolv=servers("127.0.0.11"), nameservers={"127.0.0.11": UNKNOWN}),
        {"docker-dns"},
    ),
    (
        "Docker's resolver and the agent ask each other",
        changed(resolv=servers("127.0.0.11"), nameservers={"127.0.0.11": OURS}, subject={"forwards_to_system": True}),
        {"docker-dns-loop"},
    ),
    ("the agent forwards to itself", changed(subject={"forwards_to_system": True}), {"forward-to-itself"}),
    ("the agent forwards to nobody", changed(subject={"forwards": False}), {"forward-none"}),
    (
        "the agent is on another port",
        changed(
            subject={"dns_listen": Listen("127.0.0.1", 8653)},
            resolv=servers("10.0.0.53"),
            nameservers=OTHER,
            lookup=Lookup(name="ns.vertice.internal", problem="Name or service not known"),
        ),
        {"dns-port"},
    ),
    (
        "before the agent is up, its address has to do",
        changed(**WITHOUT_AGENT),
        {"agent-not-running"},
    ),
    (
        "an agent that is to listen everywhere is looked for at every address of this machine",
        changed(
            resolv=servers("10.0.0.7"),
            subject={"dns_listen": Listen("0.0.0.0", 53), "allows_only_loopback": False},
            machine={"may_bind_low": True},
            agent=None,
            dns_answer=SILENT,
            nameservers={"10.0.0.7": SILENT},
        ),
        {"agent-not-running"},
    ),
    (
        "the stubs of others are no agent, though they are on loopback",
        changed(
            resolv=servers("127.0.0.11"),
            subject={"dns_listen": Listen("0.0.0.0", 53), "allows_only_loopback": False},
            agent=None,
            dns_answer=SILENT,
            nameservers={"127.0.0.11": SILENT},
        ),
        {"agent-not-running", "docker-dns", "resolv-conf-silent"},
    ),
    (
        "a container with nothing but the agent, and its engine's file",
        changed(
            resolv=servers("127.0.0.11"),
            machine={"in_container": True, "is_agents_own": True},
            nameservers={"127.0.0.11": UNKNOWN},
            lookup=Lookup(name="ns.vertice.internal", problem="no such name"),
        ),
        {"resolv-conf-of-agent"},
    ),
    (
        "a container with nothing but the agent, which leads to it",
        changed(machine={"in_container": True, "is_agents_own": True}),
        set(),
    ),
    # -- resolv.conf: which queries
    (
        "ndots with a suffix of others",
        changed(resolv=servers("127.0.0.1", more=f"{FOREIGN_SEARCH}options ndots:5\n")),
        {"ndots"},
    ),
    (
        "ndots with our suffix alone",
        changed(resolv=servers("127.0.0.1", more="search vertice.internal\noptions ndots:5\n")),
        {"ndots-own-zone"},
    ),
    (
        "ndots that our names have",
        changed(resolv=servers("127.0.0.1", more=f"{FOREIGN_SEARCH}options ndots:2\n")),
        set(),
    ),
    ("the zone is not searched", changed(resolv=servers("127.0.0.1", more="")), {"search-zone"}),
    (
        "the zone is searched late",
        changed(resolv=servers("127.0.0.1", more="search corp.example vertice.internal\n")),
        {"search-order"},
    ),
    (
        "a suffix of others first, which is refused",
        changed(resolv=servers("127.0.0.1", more=LATE_SEARCH), subject={"forwards": False}),
        {"search-refused", "forward-none"},
    ),
    (
        "musl, and a suffix of others first, which is refused",
        changed(resolv=servers("127.0.0.1", more=LATE_SEARCH), machine={"libc": MUSL}, subject={"forwards": False}),
        {"musl", "search-refused", "forward-none"},
    ),
    (
        "a suffix of others first, which is denied",
        changed(resolv=servers("127.0.0.1", more=LATE_SEARCH), subject={"forwards": False, "denies": True}),
        {"search-order", "forward-none"},
    ),
    (
        "ndots and a suffix of others that is refused",
        changed(resolv=servers("127.0.0.1", more=f"{FOREIGN_SEARCH}options ndots:5\n"), subject={"forwards": False}),
        {"ndots", "c-ares-refused", "forward-none"},
    ),
    (
        "ndots and a suffix of others that is denied",
        changed(
            resolv=servers("127.0.0.1", more=f"{FOREIGN_SEARCH}options ndots:5\n"),
            subject={"forwards": False, "denies": True},
        ),
        {"ndots", "forward-none"},
    ),
    (
        "musl, ndots, a suffix of others, and nobody to forward to",
        changed(
            resolv=servers("127.0.0.1", more=f"{FOREIGN_SEARCH}options ndots:5\n"),
            machine={"libc": MUSL},
            subject={"forwards": False},
        ),
        {"musl", "musl-refused", "ndots", "forward-none"},
    ),
    (
        "musl, and a suffix of others after ours",
        changed(resolv=servers("127.0.0.1", more=FOREIGN_SEARCH), machine={"libc": MUSL}, subject={"forwards": False}),
        {"musl", "forward-none"},
    ),
    # -- resolvers in front
    (
        "a resolver that leaves out private addresses",
        changed(nameservers={"127.0.0.1": ZoneAnswer.FILTERED}),
        {"rebind-protection"},
    ),
    (
        "a resolver that validates",
        changed(nameservers={"127.0.0.1": ZoneAnswer.BOGUS}),
        {"validating-resolver"},
    ),
    (
        "a resolver that fails for many records",
        changed(agent=LARGE_AGENT, large_refused=("127.0.0.1",)),
        {"large-service-refused"},
    ),
    # -- Java
    ("a program in Java", changed(machine={"java_keeps_s": 30.0}), {"java-address-cache"}),
    (
        "a program in Java that keeps addresses for ever",
        changed(machine={"java_keeps_s": math.inf}),
        {"java-address-cache"},
    ),
    ("a program in Java that keeps nothing for long", changed(machine={"java_keeps_s": 5.0}), set()),
    (
        "a program in Java, and drains that wait for it",
        changed(machine={"java_keeps_s": 30.0}, subject={"drain_wait_s": 30.0}),
        set(),
    ),
    # -- libc
    ("an old musl", changed(machine={"libc": Libc(is_musl=True, version="1.2.3")}), {"musl-without-tcp"}),
    (
        "multicast DNS takes .local",
        changed(
            machine={"nsswitch": "hosts: files mdns4_minimal [NOTFOUND=return] dns\n"},
            subject={"zone": "fleet.local"},
            resolv="nameserver 127.0.0.1\nsearch fleet.local\n",
        ),
        {"nsswitch-mdns", "zone-local"},
    ),
    (
        "multicast DNS passes .local on",
        changed(
            machine={"nsswitch": "hosts: files mdns4 dns\n"},
            subject={"zone": "fleet.local"},
            resolv="nameserver 127.0.0.1\nsearch fleet.local\n",
        ),
        {"zone-local"},
    ),
    (
        "multicast DNS does not take .internal",
        changed(machine={"nsswitch": "hosts: files mdns4_minimal [NOTFOUND=return] dns\n"}),
        set(),
    ),
    ("nsswitch asks no DNS", changed(machine={"nsswitch": "# hosts: dns\nhosts: files\n"}), {"nsswitch-no-dns"}),
    (
        "nsswitch asks systemd-resolved",
        changed(machine={"nsswitch": "hosts: files resolve [!UNAVAIL=return] dns\n"}),
        {"nsswitch-resolve"},
    ),
    ("musl does not read nsswitch", changed(machine={"nsswitch": "hosts: files\n", "libc": MUSL}), {"musl"}),
    # -- the zone
    *(
        (
            f"the zone {zone}",
            changed(subject={"zone": zone}, resolv=servers("127.0.0.1", more=f"search {zone}\n")),
            ids,
        )
        for zone, ids in (
            ("internal", set()),
            ("a.b.internal", set()),
            ("fleet.home.arpa", set()),
            ("fleet.test", set()),
            ("local", {"zone-local"}),
            ("fleet.localhost", {"zone-special"}),
            ("vertice.example", {"zone-special"}),
            ("com", {"zone-public-suffix"}),
            ("de", {"zone-public-suffix"}),
            ("co.uk", {"zone-public-suffix"}),
            ("github.io", {"zone-public-suffix"}),
            ("vertice.dev", {"zone-public"}),
            ("services.corp.com", {"zone-public"}),
            ("vertice", {"zone-single-label"}),
            ("fleet.lan", {"zone-unreserved"}),
        )
    ),
    (
        "the zone is known outside",
        changed(
            subject={"zone": "vertice.dev"},
            resolv=servers("127.0.0.1", "10.0.0.53", more="search vertice.dev\noptions timeout:1\n"),
            nameservers={"127.0.0.1": OURS, "10.0.0.53": ELSEWHERES},
        ),
        {"zone-public", "zone-taken", "resolv-conf-others"},
    ),
    # -- ports
    (
        "somebody has the port",
        changed(**WITHOUT_AGENT, machine={"listeners": (Listener("udp", "127.0.0.1", 53, "dnsmasq (pid 7)"),)}),
        {"port-taken", "agent-not-running"},
    ),
    (
        "somebody has the port on every address",
        changed(**WITHOUT_AGENT, machine={"listeners": (Listener("tcp", "::", 8880),)}),
        {"port-taken", "agent-not-running"},
    ),
    (
        "somebody has another address's port, or another kind of port",
        changed(
            **WITHOUT_AGENT,
            machine={"listeners": (Listener("udp", "127.0.0.53", 53), Listener("udp", "127.0.0.1", 8880))},
        ),
        {"agent-not-running"},
    ),
    (
        "the stub of systemd is in the way of every address",
        changed(
            **WITHOUT_AGENT,
            subject={"dns_listen": Listen("0.0.0.0", 53), "allows_only_loopback": False},
            machine={"listeners": (Listener("udp", "127.0.0.53", 53),)},
        ),
        {"port-taken", "agent-not-running"},
    ),
    (
        "a port that wants a privilege",
        changed(**WITHOUT_AGENT, machine={"low_ports_end": 1024}),
        {"agent-not-running", "port-privileged"},
    ),
    (
        "an address that is not here",
        changed(
            **WITHOUT_AGENT,
            subject={"dns_listen": Listen("10.0.0.99", 5353), "allows_only_loopback": False},
            resolv=servers("10.0.0.53"),
        ),
        {"agent-not-running", "listen-address", "dns-port"},
    ),
    ("an agent whose DNS is elsewhere", changed(dns_answer=SILENT), {"agent-dns-elsewhere"}),
    ("an agent with another zone", changed(dns_answer=UNKNOWN), {"agent-dns-zone"}),
    ("an agent with another zone, that forwards nothing", changed(dns_answer=ZoneAnswer.REFUSES), {"agent-dns-zone"}),
    ("DNS for others that may not ask", changed(subject={"dns_listen": Listen("0.0.0.0", 53)}), {"dns-allow"}),
    # -- the advertised address
    ("a host without an address", changed(service={"addresses": (), "listening": None}), {"advertised-unresolvable"}),
    ("loopback", changed(service={"host": "web", "addresses": ("127.0.1.1",)}), {"advertised-loopback"}),
    (
        "loopback, and the registry as well",
        changed(
            service={"addresses": ("::1",)},
            subject={"registry_urls": ("http://localhost:8888",)},
            agent=Agent(registry_urls=("http://localhost:8888",)),
        ),
        {"advertised-loopback-here"},
    ),
    ("link-local", changed(service={"addresses": ("169.254.3.4",)}), {"advertised-link-local"}),
    ("every address", changed(service={"addresses": ("0.0.0.0",)}), {"advertised-unusable"}),
    (
        "Docker's default bridge",
        changed(service={"addresses": ("172.17.0.3",)}, machine={"in_container": True, "addresses": ("172.17.0.3",)}),
        {"advertised-docker-bridge"},
    ),
    ("a translation", changed(registry={"seen_as": "192.0.2.9"}), {"advertised-translated"}),
    ("a registry that tells nothing", changed(registry={"seen_as": ""}), set()),
    (
        "an address of another machine",
        changed(service={"addresses": ("10.7.7.7",)}),
        {"advertised-foreign"},
    ),
    (
        "the address that the registry sees, behind a translation",
        changed(service={"addresses": ("192.0.2.9",)}, registry={"seen_as": "192.0.2.9"}),
        set(),
    ),
    ("nobody listens", changed(service={"listening": False}), {"advertised-not-listening"}),
    ("a low port", changed(service={"port": 80}, agent=Agent(registry_urls=(URL,))), {"advertised-low-port"}),
    # -- the registry
    ("no registry", changed(registry={"problem": "Connection refused"}), {"registry-away"}),
    (
        "a registry with another certificate",
        changed(registry={"problem": "its certificate is for another name"}),
        {"registry-tls"},
    ),
    ("a registry with TLS only", changed(registry={"wants_tls": True}), {"registry-https"}),
    (
        "one of two registries",
        changed(registries=(SEEN, RegistrySeen(url="http://10.0.0.3:8888", problem="timed out"))),
        {"registry-one-away"},
    ),
    ("one address of a registry", changed(registry={"dead_addresses": ("10.0.0.9",)}), {"registry-address"}),
    ("a registry that starts", changed(registry={"is_ready": False, "state": "starting"}), {"registry-not-ready"}),
    (
        "a registry that is not well",
        changed(registry={"health": "degraded", "reasons": ("shard 'a': no answer",)}),
        {"registry-degraded"},
    ),
    (
        "a registry that is ill",
        changed(registry={"health": "unhealthy", "reasons": ("every write is refused",)}),
        {"registry-unhealthy"},
    ),
    ("a registry that warms", changed(registry={"state": "warming"}), {"registry-warming"}),
    ("a clock 3 s off", changed(registry={"ahead_s": -3.0}), {"clock-differs"}),
    ("a clock that may be right", changed(registry={"ahead_s": 3.0, "error_s": 1.5}), set()),
    ("a clock an hour off", changed(registry={"ahead_s": 3600.0}), {"clock-wrong"}),
    ("no Date", changed(registry={"ahead_s": None}), set()),
    ("a wrong token", changed(registry={"write_status": 401}), {"token-wrong"}),
    ("no token", changed(registry={"write_status": 401}, subject={"has_token": False}), {"token-missing"}),
    ("no writes", changed(registry={"write_status": 503}), {"registry-no-writes"}),
    # -- what is open
    ("a closed registry", changed(registry=FAR), set()),
    ("plain HTTP", changed(registry=FAR | {"url": "http://10.0.0.2:8888"}), {"registry-in-the-clear"}),
    ("open writes", changed(registry=FAR | {"writes_are_open": True}), {"registry-writes-open"}),
    ("open reads", changed(registry=FAR | {"reads_are_open": True}), {"registry-reads-open"}),
    ("plain secrets", changed(registry=FAR | {"plain_secrets": 3}), {"registry-plain-secrets"}),
    ("no audit", changed(registry=FAR | {"is_audited": False}), {"registry-no-audit"}),
    ("a registry that does not tell of its audit", changed(registry=FAR | {"is_audited": None}), set()),
    (
        "a proxy that is not believed",
        changed(registry=FAR | {"unbelieved_proxies": ("10.0.0.5",)}),
        {"registry-proxy-not-believed"},
    ),
    ("a follower", changed(registry={"follow": FollowSeen(connected_to="http://10.0.0.2:8888", hops=2)}), set()),
    (
        "a follower that has lost its registry",
        changed(registry={"follow": FollowSeen(problem="connection refused", lost_s=90.0)}),
        {"registry-follower-lost"},
    ),
    (
        "a follower of itself",
        changed(registry={"follow": FollowSeen(problem="REGISTRY_FOLLOW: x leads this follower to itself")}),
        {"registry-follower-circle"},
    ),
    ("a short secret", changed(registry=FAR, subject={"secret_length": 6}), {"secret-short"}),
    ("a long secret", changed(registry=FAR, subject={"secret_length": 48}), set()),
    ("an open port", changed(subject={"http_listen": Listen("", 8880)}), {"agent-port-open"}),
    ("a short secret on loopback", changed(subject={"secret_length": 6}), set()),
    # -- the rest
    (
        "nothing is kept",
        changed(**WITHOUT_AGENT, subject={"state_dir": ""}, machine={"may_bind_low": True}, state=None),
        {"state-dir-none", "agent-not-running"},
    ),
    ("a folder that fails", changed(state={"problem": "Stale file handle"}), {"state-dir-problem"}),
    ("a folder that cannot be made", changed(state={"exists": False, "can_be_made": False}), {"state-dir-problem"}),
    ("a folder that will be made", changed(state={"exists": False, "writable": False}), set()),
    ("a file in its place", changed(state={"is_folder": False}), {"state-dir-problem"}),
    ("somebody else's folder", changed(state={"writable": False, "owner": 1000}), {"state-dir-owner"}),
    ("everybody's folder", changed(state={"open_to_all": True}), {"state-dir-open"}),
    ("a full disk", changed(state={"free_bytes": 10 * 2**20}), {"state-dir-full"}),
    (
        "another agent's folder",
        changed(**WITHOUT_AGENT, state={"locked_by": "the process 9"}, machine={"may_bind_low": True}),
        {"state-dir-taken", "agent-not-running"},
    ),
    ("our own agent's folder", changed(state={"locked_by": "the process 9"}), set()),
    ("a damaged snapshot", changed(state={"has_damaged_snapshot": True}), {"state-dir-damaged"}),
    ("a proxy for everything", changed(proxies={"http_proxy": "http://proxy:3128"}), {"proxy-catches"}),
    (
        "a proxy that spares us",
        changed(proxies={"HTTP_PROXY": "http://p", "NO_PROXY": "localhost, 127.0.0.0/8, .vertice.internal"}),
        set(),
    ),
    ("few files", changed(machine={"open_files": 256}), {"open-files-few"}),
    ("a small buffer", changed(machine={"rmem_max": 212992}), {"receive-buffer-small"}),
    ("limits that cannot be seen", changed(machine={"rmem_max": None, "open_files": None}), set()),
]
# Only one of these cases needs a privilege for its port.
CASES = [
    (name, facts, ids)
    if "port-privileged" in ids
    else (
        name,
        msgspec.structs.replace(facts, machine=msgspec.structs.replace(facts.machine, may_bind_low=True)),
        ids,
    )
    for name, facts, ids in CASES
]


@pytest.mark.parametrize(("facts", "ids"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_fault_is_found_and_nothing_else(facts: Facts, ids: set[str]) -> None:
    found = [one for one in findings(facts) if one.severity is not DoctorSeverity.OK]
    assert {one.id for one in found} == ids, found


def test_each_kind_of_finding_is_made_by_some_case() -> None:
    made = {one.id for _, facts, _ in CASES for one in findings(facts)}
    assert {kind.id for chapter in CHAPTERS for kind in chapter.kinds} - made == set()


def test_the_worst_comes_first() -> None:
    order = [WORST_FIRST.index(one.severity) for one in findings(CASES[14][1])]
    assert order == sorted(order)
    assert len(set(order)) > 1


def test_every_kind_is_in_the_catalogue_once() -> None:
    listed = [kind for chapter in CHAPTERS for kind in chapter.kinds]
    assert len({kind.id for kind in listed}) == len(listed)
    for module in vars(catalogue).values():
        for name, kind in vars(module).items() if hasattr(module, "KINDS") else ():
            assert not isinstance(kind, DoctorRule) or kind in listed, f"{module.__name__}.{name}"


@pytest.mark.parametrize("kind", [kind for chapter in CHAPTERS for kind in chapter.kinds], ids=lambda kind: kind.id)
def test_every_problem_has_a_reason_and_a_cure(kind: DoctorRule) -> None:
    is_fine = kind.severity is DoctorSeverity.OK
    assert bool(kind.why) == bool(kind.cure) == (not is_fine)
    assert not kind.what.endswith(".")


def test_an_unfilled_placeholder_is_an_error() -> None:
    with pytest.raises(KeyError):
        stub.ALONE.found()


def test_observed_text_is_not_searched_for_placeholders() -> None:
    assert stub.ALONE.found(agent="{zone}").what.startswith("programs here ask only the agent ({zone})")


def of(facts: Facts, id_: str) -> DoctorFinding:
    return next(one for one in findings(facts) if one.id == id_)


def test_a_foreign_suffix_is_counted_in_queries() -> None:
    more = "search vertice.internal svc.cluster.local cluster.local\noptions ndots:5\n"
    found = of(changed(resolv=servers("127.0.0.1", more=more)), "ndots")
    assert "billing.vertice.internal.svc.cluster.local, billing.vertice.internal.cluster.local" in found.what
    assert found.why.startswith("4 queries (A and AAAA)")


def test_the_cure_for_the_order_is_the_line_to_write() -> None:
    facts = changed(resolv=servers("10.0.0.53", "127.0.0.1"), nameservers=BOTH)
    found = of(facts, "resolv-conf-order")
    assert found.what == "the agent is server 2 in /etc/resolv.conf, after 10.0.0.53"
    assert found.cure.startswith("nameserver 127.0.0.1 ")


def test_dockers_upstreams_are_shown() -> None:
    text = servers("127.0.0.11") + "# ExtServers: [host(10.0.0.53) 1.1.1.1]\n"
    found = of(changed(resolv=text, nameservers={"127.0.0.11": UNKNOWN}), "docker-dns")
    assert "(it asks: host(10.0.0.53) 1.1.1.1)" in found.what


@pytest.mark.parametrize(
    ("spared", "caught"),
    [
        ("", "localhost, 127.0.0.1, *.vertice.internal"),
        ("*", None),
        ("localhost,127.0.0.1,vertice.internal", None),
        ("localhost,127.0.0.1,*.internal", None),
        ("localhost,127.0.0.1,ice.internal", "*.vertice.internal"),
        (".vertice.internal,127.0.0.1", "localhost"),
    ],
)
def test_no_proxy_is_read_as_suffixes(spared: str, caught: str | None) -> None:
    found = list(proxies.judge(changed(proxies={"https_proxy": "x", "ALL_PROXY": "http://p", "no_proxy": spared})))
    assert [one.id for one in found] == ["proxy-catches" if caught else "proxy"]
    if caught:
        assert found[0].what == f"ALL_PROXY is set, and NO_PROXY does not exclude {caught}"


def test_the_description_of_a_kind_names_its_placeholders() -> None:
    kind = finding.DoctorRule("x", DoctorSeverity.NOTE, "{server} is odd", "because of {low_ports_end}", "do {{this}}")
    assert kind.described() == DoctorFinding(
        "x", DoctorSeverity.NOTE, "<server> is odd", "because of <low ports end>", "do {this}"
    )


def test_a_refused_service_is_told_once_with_the_registry_s_words() -> None:
    agent = msgspec.structs.replace(
        AGENT,
        services=(REFUSED,),
        status="degraded",
        reasons=("billing (10.0.0.7:8034) is refused by the registry: the token is wrong", "the view is stale"),
    )
    found = findings(changed(agent=agent))
    assert [one.what for one in found if one.id == "agent-refused"] == [
        "the registry refuses billing: the token is wrong"
    ]
    assert [one.what for one in found if one.id == "agent-degraded"] == [
        "the agent at 127.0.0.1:8880 is degraded: the view is stale"
    ]


def test_many_reasons_are_counted() -> None:
    many = msgspec.structs.replace(AGENT, status="degraded", reasons=tuple(f"reason {n}" for n in range(20)))
    found = [one.what for one in findings(changed(agent=many)) if one.id == "agent-degraded"]
    assert len(found) == MAX_REASONS + 1
    assert found[-1].endswith("and 12 more reasons")


def test_an_agent_that_listens_everywhere_is_named_by_the_address_that_others_use() -> None:
    facts = changed(
        resolv=servers("127.0.0.11"),
        subject={"dns_listen": Listen("::", 53), "allows_only_loopback": False},
        machine={"is_agents_own": True},
        nameservers={"127.0.0.11": UNKNOWN},
    )
    assert "nameserver 10.0.0.7" in of(facts, "resolv-conf-of-agent").cure
