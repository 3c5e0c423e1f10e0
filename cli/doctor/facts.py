"""The facts that collectors pass to judges. Structures only: this module reads and judges nothing.

Addresses are text as the system writes them; durations are in seconds.
"""

from __future__ import annotations

import enum

import msgspec

from registry_core.listening_sockets import Listener
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.settings import Listen

DNS_PORT = 53


class ZoneAnswer(enum.Enum):
    """A name server's answer about our zone. OURS is an agent's answer, even if another server forwarded it."""

    OURS = "answers for the zone"
    FILTERED = "knows our zone, but not the private addresses in it"  # an agent's answer, with parts missing
    BOGUS = "takes our zone for forged, because nobody signs it"  # an agent's answer, kept back
    ELSEWHERES = "knows a zone of that name that is not ours"
    UNKNOWN = "knows no such zone"
    REFUSES = "refuses to answer"  # REFUSED, SERVFAIL, NOTIMP: glibc then asks the next server
    SILENT = "does not answer"

    @property
    def leads_here(self) -> bool:
        """Whether the server asks an agent, or is one."""
        return self in (ZoneAnswer.OURS, ZoneAnswer.FILTERED, ZoneAnswer.BOGUS)


class AdvertisedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service registered from this machine, and how its address looks from here."""

    name: str
    host: str
    port: int
    is_udp: bool = False
    addresses: tuple[str, ...] = ()  # empty: the host cannot be resolved here
    listening: bool | None = None  # None: not tried
    refusal: str = ""  # why the registry refuses it; empty when it does not


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of this machine's agent that matter here."""

    zone: str
    http_listen: Listen
    dns_listen: Listen
    registry_urls: tuple[str, ...]
    has_token: bool = False
    tls: ClientTlsSettings = ClientTlsSettings()
    forwards: bool = True
    denies: bool = False  # it answers NXDOMAIN for names outside the zone
    forwards_to_system: bool = True
    allows_only_loopback: bool = True
    services: tuple[AdvertisedService, ...] = ()
    state_dir: str = ""
    drain_wait_s: float = 5.0
    secret_length: int | None = None  # of the secret that is shared with the registry; None: there is none


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """The agent that answers at the configured HTTP address, as it describes itself in `/self`."""

    services: tuple[AdvertisedService, ...] = ()
    registry_urls: tuple[str, ...] = ()
    largest_service: str = ""  # that it holds
    largest_instances: int = 0
    status: str = ""  # "healthy", "degraded", "unhealthy"; an agent of the last release does not say
    reasons: tuple[str, ...] = ()


class Libc(msgspec.Struct, frozen=True):
    """The libc whose resolver programs here use."""

    is_musl: bool
    version: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine's files say. None: the file is missing or unreadable."""

    resolv_conf: str | None = None
    nsswitch: str | None = None
    libc: Libc = Libc(is_musl=False)
    in_container: bool = False
    is_agents_own: bool = False  # a container with nothing but the agent in it; other programs have another resolv.conf
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    low_ports_end: int = 1024  # ports below it need a privilege
    may_bind_low: bool = False
    rmem_max: int | None = None
    open_files: int | None = None
    java_keeps_s: float | None = None  # how long a program in Java here keeps an address; None: there is none


class FollowSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a follower says of the registry that it follows."""

    connected_to: str = ""  # "" while it follows none
    problem: str = ""
    lost_s: float | None = None
    hops: int = 0  # up to the registry with the store; 0: not known


class RegistrySeen(msgspec.Struct, frozen=True, kw_only=True):
    """One address of REGISTRY_URL, probed from here. `problem` is empty when a registry answered."""

    url: str
    problem: str = ""
    wants_tls: bool = False  # it was asked without, and takes nothing but TLS
    dead_addresses: tuple[str, ...] = ()  # those of its name's several addresses that do not answer
    is_ready: bool = True
    state: str = ""
    version: str = ""
    ahead_s: float | None = None  # its clock minus ours
    error_s: float = 0.0  # the uncertainty of `ahead_s`
    seen_as: str = ""  # our source address as it sees it
    write_status: int | None = None  # the HTTP status of a harmless write
    health: str = ""  # as in /health; empty when it does not say
    reasons: tuple[str, ...] = ()
    # What a stranger finds there. The defaults are those of a registry that does not tell.
    beyond_loopback: bool = False
    writes_are_open: bool = False
    reads_are_open: bool = False
    plain_secrets: int = 0  # accepted from other machines over plain HTTP, while that is neither refused nor silent
    is_audited: bool | None = None
    unbelieved_proxies: tuple[str, ...] = ()  # they forward for others, and the registry does not trust them
    follow: FollowSeen | None = None  # None: it has a store of its own, or does not say


class StateDirFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The state of AGENT_STATE_DIR."""

    path: str
    problem: str = ""  # why it cannot be examined
    exists: bool = True
    can_be_made: bool = True
    is_folder: bool = True
    writable: bool = True
    open_to_all: bool = False  # every user may write to it
    owner: int = 0
    user: int = 0
    free_bytes: int = 0
    locked_by: str = ""
    has_damaged_snapshot: bool = False


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of this machine's own resolver for a name that only an agent knows. Not `done`: it timed out."""

    name: str
    done: bool = True
    addresses: tuple[str, ...] = ()
    problem: str = ""
    took_s: float = 0.0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All facts."""

    subject: Subject
    machine: Machine
    settings_problem: str = ""
    told_by_agent: tuple[str, ...] = ()  # settings not given here, taken from the running agent
    agent: Agent | None = None  # None: no agent answers
    dns_answer: ZoneAnswer | None = None  # from the agent's DNS address
    nameservers: dict[str, ZoneAnswer] = {}
    large_refused: tuple[str, ...] = ()  # of these, those that fail for the agent's largest service
    registries: tuple[RegistrySeen, ...] = ()
    state: StateDirFacts | None = None
    lookup: Lookup | None = None
    proxies: dict[str, str] = {}
    not_in_time: tuple[str, ...] = ()
    python: str = ""
